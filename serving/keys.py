"""API keys that allow predictions, kept as SHA-256 hashes and compared in constant time."""

import hashlib
import hmac
import re
from functools import cache
from pathlib import Path

from serving.settings import Settings, SettingsError

_HASH = re.compile(r"[0-9a-f]{64}")


class Keys:
    """The accepted keys; where none is configured, everybody may predict.

    They are random and long, so that a plain hash of one cannot be turned back; make one and its hash with
    `openssl rand -hex 32` and `printf %s KEY | sha256sum`.

    Raises:
        SettingsError: the file cannot be read or holds no hash, or something is no SHA-256 in hexadecimal.
    """

    def __init__(self, settings: Settings) -> None:
        self._hashes = _read(settings.api_keys, settings.api_keys_file)

    @property
    def needed(self) -> bool:
        return bool(self._hashes)

    def accept(self, key: str) -> bool:
        """Whether `key` is one of them; it takes the same time whichever it is, and if it is none."""
        given = hashlib.sha256(key.encode()).hexdigest().encode()
        # Compared with all of them, since stopping at the first match would reveal its position.
        return sum(hmac.compare_digest(given, each) for each in self._hashes) > 0


@cache  # gunicorn's master reads them before it forks, so that a later worker needs no file that may be gone by then
def _read(listed: str | None, file: Path | None) -> list[bytes]:
    text = listed or ""
    if file:
        try:
            # What follows a hash in its line, such as the name of its owner, is a remark.
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise SettingsError(f"API_KEYS_FILE must be a file of hashes. Received: {error}.") from error
        text += " " + " ".join(line.split()[0] for line in lines if line.strip() and not line.startswith("#"))
    hashes = [each.lower().encode() for each in text.replace(",", " ").split()]
    if (listed or file) and not hashes:
        # Else everybody could predict, although somebody meant to prevent that.
        raise SettingsError("API_KEYS and API_KEYS_FILE must hold at least one hash. Received: none.")
    if not all(_HASH.fullmatch(each.decode()) for each in hashes):
        # The value is not repeated: it may be a key that somebody forgot to hash.
        raise SettingsError(
            "API_KEYS must be SHA-256 hashes of 64 hexadecimal digits, commas between. Received: something else."
        )
    return hashes
