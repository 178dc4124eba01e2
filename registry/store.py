"""The store: the versions of one model on disk, each a directory that is whole as soon as it has a number.

<root>/<name>/<version>/   a SavedModel and its card; TensorFlow Serving can serve <root>/<name> as it is, unless a
                           version was imported from a TFLite file, and is a flatbuffer and its card
<root>/<name>/pinned       one version number: serve this one; absent: the newest
<root>/.staging/           what is on its way in or out, and the locks
"""

import errno
import os
import re
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from registry.card import CARD_PATH, CardError, ModelCard
from registry.disk import damage, hashes, locked, slot, sync, sync_tree
from registry.errors import RegistryError, refusals
from registry.names import RULE, is_name, normalized

SAVED_MODEL = "saved_model.pb"
FLATBUFFER = "assets.extra/model.tflite"  # beside a SavedModel, or, of a model that was imported as one, alone
PINNED = "pinned"
STAGING = ".staging"  # hidden, so no model can have this name

# "007" and "0" are not versions: one number, one spelling. 18 digits fit into 64 bits, which JSON encoders need.
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


class ModelStore:
    """The versions of the model `name` under `root` (usually artifacts/models). Reading never writes.

    Any number of processes may use one store at once. Where the disk refuses, methods raise RegistryError.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = normalized(name)
        if not is_name(self.name):
            raise RegistryError(f"A model's name {RULE}. Received: {name!r}.")

    @property
    def directory(self) -> Path:
        """Where the versions are; it need not exist yet."""
        return self.root / self.name

    def path(self, version: int) -> Path:
        return self.directory / str(version)

    def versions(self) -> list[int]:
        """The numbers of the versions, ascending. Anything else in the directory is left out."""
        with refusals("list the versions", self.directory):
            return [
                number
                for number in self.numbers()
                if _holds_model(self.path(number)) and (self.path(number) / CARD_PATH).is_file()
            ]

    def numbers(self) -> list[int]:
        """The numbers in the directory, ascending: of versions, and of what damage has left of others."""
        return sorted(int(name) for name in self._entries() if _VERSION.fullmatch(name))

    def newest(self) -> int | None:
        """The greatest version number, None when there are no versions."""
        return max(self.versions(), default=None)

    def pinned(self) -> int | None:
        """The pinned version. Raises RegistryError if the file does not name a version that is there."""
        text = self._pin_text()
        while text is not None:
            if not _VERSION.fullmatch(text.strip()):
                raise RegistryError(
                    f"{self.directory / PINNED} must hold one version number. Received: {text[:40]!r}. "
                    f"Pin a version, or unpin."
                )
            if (version := int(text)) in self.versions():
                return version
            again = self._pin_text()
            if again == text:
                raise RegistryError(
                    f"{self.directory / PINNED} names version {version}, which is not there: "
                    f"{self._there_are()}. Pin another, or unpin."
                )
            text = again  # Meanwhile another process pinned another version and pruned.
        return None

    def served(self) -> int | None:
        """The version to serve: the pinned one, else the newest; None when there are none."""
        pinned = self.pinned()
        return self.newest() if pinned is None else pinned

    def card(self, version: int) -> ModelCard:
        """The card of `version`. Raises RegistryError for an unknown version, CardError for a bad card."""
        self._check_known(version)
        return ModelCard.read(self.path(version))

    def stage(self) -> AbstractContextManager[Path]:
        """A fresh hidden directory to export into; what is not published is removed on the way out."""
        return slot(self.root / STAGING)

    def publish(self, staged: Path, card: ModelCard) -> int:
        """Make the `staged` directory the next version, with `card` and its files' hashes in it.

        Returns:
            The new version's number: one more than the greatest there.

        Raises:
            RegistryError: no model in `staged`, a card of another model, or the disk refuses. Nothing is
                published then, unless the message says so.
        """
        if card.name != self.name:
            raise RegistryError(f"The card must be of the model {self.name}. Received: a card of {card.name}.")
        if not _holds_model(staged):
            raise RegistryError(f"A version must hold {SAVED_MODEL}. Received: {staged} without it; export first.")
        with refusals("publish a version", self.directory):
            replace(card, files=hashes(staged)).write(staged)
            sync_tree(staged)
            self.directory.mkdir(parents=True, exist_ok=True)
            version = self._move_in(staged)
        with refusals(f"be sure that version {version}, now published, outlives a power cut", self.directory):
            for each in (staged.parent, self.directory, self.root):
                sync(each)
        return version

    def pin(self, version: int) -> None:
        """Serve `version` from now on. Raises RegistryError for one that is unknown or damaged."""
        with self._lock(shared=True):
            self._check_known(version)
            if problems := self.verify(version):
                raise RegistryError(
                    f"{self.name} was not pinned to a damaged version; pin another. {'; '.join(problems)}."
                )
            with self.stage() as staged, refusals(f"pin version {version}", self.directory):
                (staged / PINNED).write_text(f"{version}\n")
                sync(staged / PINNED)
                os.replace(staged / PINNED, self.directory / PINNED)
                sync(self.directory)

    def unpin(self) -> None:
        """Serve the newest version from now on. Nothing pinned is no error."""
        with refusals("unpin", self.directory):
            if (self.directory / PINNED).exists():
                (self.directory / PINNED).unlink(missing_ok=True)
                sync(self.directory)

    def prune(self, keep: int) -> list[int]:
        """Remove all but the `keep` newest versions and the served one. Returns the removed, ascending."""
        if keep < 1:
            raise RegistryError(f"`keep` must be at least 1, because the newest version stays. Received: {keep}.")
        with self._lock(shared=False):
            served = self.served()
            for version in {served, self.newest()}:
                if version is not None and (problems := self._damage(version)):
                    # What would be removed may be all that is whole.
                    raise RegistryError(f"Nothing was removed, because version {version} is damaged: {problems[0]}.")
            old = [version for version in self.versions()[:-keep] if version != served]
            for version in old:
                # Out of sight in one step, then deleted: no reader ever sees half a version.
                with self.stage() as staged, refusals(f"remove version {version}", self.directory):
                    os.rename(self.path(version), staged / "pruned")
                    sync(self.directory)
        return old

    def verify(self, version: int | None = None) -> list[str]:
        """Hash every file again and name what differs from the card; empty when all is whole.

        Without a `version`, check every version, the pin, and that the directory holds nothing else.
        Raises RegistryError when there is no directory of that `version`.
        """
        if version is not None:
            # Damage may have cost it its SavedModel or its card, so ask for no more than the directory.
            if not self.path(version).is_dir():
                self._check_known(version)
            return self._damage(version)
        problems: list[str] = []
        for name in sorted(self._entries(), key=lambda name: (len(name), name)):
            if _VERSION.fullmatch(name) and (self.directory / name).is_dir():
                problems += self._damage(int(name))
            elif name != PINNED:
                problems.append(f"{self.directory / name} is not a version and does not belong here")
        try:
            self.pinned()
        except RegistryError as error:
            problems.append(str(error).rstrip("."))
        return problems

    def _damage(self, version: int) -> list[str]:
        path = self.path(version)
        try:
            return [f"version {version}: {each}" for each in damage(path, ModelCard.read(path).files)]
        except CardError as error:
            return [f"version {version}: {str(error).rstrip('.')}"]
        except OSError as error:
            return [f"version {version}: {error.filename}: {error.strerror}"]

    def _move_in(self, staged: Path) -> int:
        # Pushes do not wait for one another: a rename onto a version that is there fails, so of two processes
        # that want one number one gets it, and the other takes the next. They only keep prune out meanwhile:
        # else a number could become free between the listing and the rename, and be used twice.
        with self._lock(shared=True):
            version = 1 + max(self.numbers(), default=0)
            while True:
                try:
                    os.rename(staged, self.path(version))
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                        raise
                    version += 1
                else:
                    return version

    def _lock(self, shared: bool) -> AbstractContextManager[None]:
        """Prune takes it exclusively; operations that need versions to stay where they are share it."""
        return locked(self.root / STAGING / f"{self.name}.lock", shared)

    def _entries(self) -> list[str]:
        with refusals("list the versions", self.directory):
            try:
                return os.listdir(self.directory)
            except FileNotFoundError:
                return []

    def _pin_text(self) -> str | None:
        with refusals("read the pin", self.directory):
            try:
                return (self.directory / PINNED).read_text(errors="replace")
            except FileNotFoundError:
                return None

    def _check_known(self, version: int) -> None:
        if version not in self.versions():
            raise RegistryError(f"There is no version {version} of {self.name} in {self.root}: {self._there_are()}.")

    def _there_are(self) -> str:
        versions = self.versions()
        return f"there is version {', '.join(map(str, versions))}" if versions else "there is none yet"


def _holds_model(directory: Path) -> bool:
    return any((directory / part).is_file() for part in (SAVED_MODEL, FLATBUFFER))
