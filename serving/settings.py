"""The settings of the service: read from the environment once, validated when constructed, listed by `--help`."""

import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from registry.models import MOST_SERVED
from registry.names import normalized

# Scheme, host and port, as a browser names the site of a page (RFC 6454, section 6.2).
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/@?#]+")


class SettingsError(ValueError):
    """An environment variable is invalid; the message names it, what was expected and what was received."""


def _about(meaning: str, low: int = 0, high: int = 0) -> dict[str, Any]:
    """What `--help` says of a setting, and the range of one that is a whole number."""
    return {"help": meaning, "low": low, "high": high}


@dataclass(frozen=True)
class Settings:
    """All that can be set from outside; each field is an environment variable in capitals.

    Raises:
        SettingsError: a value is out of its range, or no valid host.
    """

    host: str = field(default="127.0.0.1", metadata=_about("address to listen on; 0.0.0.0 for all"))
    port: int = field(default=8080, metadata=_about("port to listen on; 0 for any free one", 0, 65535))
    workers: int = field(default=1, metadata=_about("processes, each with its own copy of the models", 1, 64))
    threads: int = field(default=16, metadata=_about("requests that one worker handles at a time", 1, 256))
    # A worker then holds 40 requests: 64 clients of two workers, and a fifth of a second of one core.
    max_queue: int = field(
        default=24, metadata=_about("requests that may wait in a worker; more are rejected", 1, 10**6)
    )
    overload_status: int = field(
        default=503, metadata=_about("status of requests that are rejected for overload: 503 or 429", 429, 503)
    )
    deadline_ms: int = field(
        default=10_000, metadata=_about("longest time in milliseconds that a request may wait", 1, 10**7)
    )
    client_timeout: int = field(default=120, metadata=_about("seconds in which a client must send a body", 1, 3600))
    runtime: str = field(default="tensorflow", metadata=_about("tensorflow or litert, which needs no TensorFlow"))
    # One thread answered a single image in 298 us where TensorFlow's default took 513 us, on two cores.
    tf_threads: int = field(default=1, metadata=_about("threads that compute in a worker", 1, 256))
    # XLA took 0.5 to 0.8 of the time of the paper's CNNs, for three seconds more to load and 80 MB. What it slows
    # down is not compiled.
    xla: int = field(default=1, metadata=_about("1: compile with XLA; 0: start sooner", 0, 1))
    artifacts: Path = field(default=Path("artifacts"), metadata=_about("directory of the trainer's results"))
    models: Path | None = field(default=None, metadata=_about("directory of the pushed models [ARTIFACTS/models]"))
    wait_for_model: int = field(default=0, metadata=_about("1: start without a model, and wait for one", 0, 1))
    model_name: str | None = field(
        default=None,
        metadata=_about(
            "models to serve, with commas between; the first is the default [all; the one pushed last is the default]"
        ),
    )
    # Each has its own copy of what its runtime needs in each worker.
    max_models: int = field(
        default=MOST_SERVED, metadata=_about("most models to serve; with more, the service does not start", 1, 64)
    )
    max_body_bytes: int = field(default=16 * 2**20, metadata=_about("largest request body", 1, 2**31 - 1))
    max_images: int = field(default=256, metadata=_about("most images in one request", 1, 65536))
    # 4096 x 4096: a 12-megapixel photo fits, and decoded in colour it takes 64 MiB at most.
    max_image_pixels: int = field(default=2**24, metadata=_about("most pixels of one image file", 1, 2**30))
    # The largest allowed PNG needs 82 MiB; with LiteRT, 96 MiB fit into a pod of 256 MiB.
    max_decoding_bytes: int = field(
        default=96 * 2**20,
        metadata=_about("bytes of memory that a worker may use to decode images", 2**20, 2**40),
    )
    preprocess: int = field(default=1, metadata=_about("0: turn off the preprocessing of photographs", 0, 1))
    ready_timeout: int = field(default=10, metadata=_about("seconds to wait for a loading model", 0, 600))
    reload_seconds: int = field(
        default=1, metadata=_about("seconds between checks for another version; 0: never", 0, 86400)
    )
    api_keys: str | None = field(
        default=None,
        metadata=_about("SHA-256 hashes of the keys that may predict, with commas between [no key needed]"),
    )
    api_keys_file: Path | None = field(default=None, metadata=_about("file with such hashes, one per line [none]"))
    cors_origins: str | None = field(
        default=None, metadata=_about("sites whose pages may call, such as https://a.example, or * for all [none]")
    )
    metrics_directory: Path | None = field(default=None, metadata=_about("where workers share metrics [a new one]"))
    access_log: int = field(default=0, metadata=_about("1: log each request", 0, 1))
    log_format: str = field(default="json", metadata=_about("json or text"))
    drain_seconds: int = field(
        default=1, metadata=_about("seconds after SIGTERM in which new connections are still served", 0, 600)
    )
    # Kubernetes kills after 30 s; the service is done before.
    graceful_timeout: int = field(default=25, metadata=_about("seconds to finish after SIGTERM", 1, 3600))

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            low, high = each.metadata["low"], each.metadata["high"]
            if each.type is int and not low <= value <= high:
                raise SettingsError(_refusal(each, value))
        if self.overload_status not in (429, 503):
            raise SettingsError(f"OVERLOAD_STATUS must be 503 or 429. Received: {self.overload_status}.")
        for name, choices in (("runtime", ("tensorflow", "litert")), ("log_format", ("json", "text"))):
            if (value := getattr(self, name)) not in choices:
                raise SettingsError(f"{name.upper()} must be {' or '.join(choices)}. Received: {value!r:.40}.")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    "CORS_ORIGINS must be *, or origins such as https://a.example with commas between. "
                    f"Received: {origin!r:.60}."
                )
        if not self.host or any(char.isspace() or char in "/[]@" for char in self.host):
            raise SettingsError(
                f"HOST must be an address or a host name, such as 127.0.0.1. Received: {self.host!r:.40}."
            )

    @property
    def model_root(self) -> Path:
        """The directory that holds one directory a model."""
        return self.models or self.artifacts / "models"

    @property
    def model_names(self) -> tuple[str, ...]:
        """Each of MODEL_NAME in its one spelling; empty where none is named."""
        return tuple(dict.fromkeys(map(normalized, (self.model_name or "").replace(",", " ").split())))

    @property
    def origins(self) -> tuple[str, ...]:
        """Each of CORS_ORIGINS as browsers send it: in lower case."""
        return tuple((self.cors_origins or "").lower().replace(",", " ").split())

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings; a variable that is absent or empty keeps its default.

        Raises:
            SettingsError: not a whole number where one belongs, or refused by the settings themselves.
        """
        given = ((each, environ.get(each.name.upper())) for each in fields(cls))
        values: dict[str, Any] = {each.name: _parse(each, text) for each, text in given if text}
        return cls(**values)


def describe() -> str:
    """One line a variable with its meaning and default, for `--help`."""
    lines = []
    for each in fields(Settings):
        default = "" if each.default is None else f" [{each.default}]"
        lines.append(f"  {each.name.upper():<18} {each.metadata['help']}{default}")
    return "\n".join(lines)


def _parse(variable: Field[Any], text: str) -> int | str | Path:
    if variable.type is int:
        # int() would also take "1_0", " 1" and Arabic digits.
        if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 20):
            raise SettingsError(_refusal(variable, text))
        return int(text)
    return Path(text) if variable.type in (Path, Path | None) else text


def _refusal(variable: Field[Any], received: object) -> str:
    low, high = variable.metadata["low"], variable.metadata["high"]
    return f"{variable.name.upper()} must be a whole number from {low} to {high}. Received: {received!r:.40}."
