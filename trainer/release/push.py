"""From a run's export to a version: it is judged apart from `models/`, and just those files are pushed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from registry.card import ModelCard
from registry.errors import refusals
from registry.store import ModelStore
from trainer.evaluation import novelty
from trainer.release import examples
from trainer.release.card import as_markdown
from trainer.release.checks import Verdict
from trainer.release.finished import EXPORT

EXTRA = Path("assets.extra")
FIGURES = EXTRA / "figures"
KEPT = (novelty.NAME, examples.PICTURE, examples.INDEX, "evaluation.json")  # of the run, for serving and its page


@contextmanager
def as_only_version(export: Path, name: str) -> Iterator[Path]:
    """A directory as the service's MODELS whose only version, of the model `name`, is the export.

    A server can be started on it, and nothing that is not accepted has entered `models/`.
    """
    with tempfile.TemporaryDirectory(prefix=".candidate-", dir=export.parent) as models:
        version = Path(models) / name / "1"
        version.parent.mkdir()
        version.symlink_to(export.absolute(), target_is_directory=True)
        yield Path(models)


def push(run: Path, card: ModelCard, verdict: Verdict | None, store: ModelStore) -> int:
    """Publishes the export of the run's directory, the very files that were judged, as the next version of `store`.

    The version's `assets.extra` gets the card with the verdict, as JSON and as Markdown, the run's figures, and those
    of KEPT that the run has.

    Raises:
        RegistryError: it could not be published; the versions there before are untouched.
    """
    card, source = replace(card, verdict=None if verdict is None else verdict.to_json()), run / EXPORT
    with store.stage() as staged:
        with refusals("publish a version", store.directory):
            # File by file, because on a full disk `shutil.copytree` raises one error that lists all files.
            for path in sorted(source.rglob("*")):
                _copy(path, staged / path.relative_to(source))
            for path in sorted((run / "figures").glob("*.png")):
                _copy(path, staged / FIGURES / path.name)
            for path in (run / name for name in KEPT if (run / name).is_file()):
                _copy(path, staged / EXTRA / path.name)
            (staged / EXTRA / "MODEL_CARD.md").write_text(as_markdown(card), encoding="utf-8")
        return store.publish(staged, card)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        target.mkdir()
        return
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, target)
