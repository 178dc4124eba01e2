"""From a trained model to a version: an export to be judged, apart from `models/`, and the push of just those files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import keras

from registry.card import ModelCard
from registry.errors import refusals
from registry.store import ModelStore
from trainer.evaluation import novelty
from trainer.release import examples, words
from trainer.release.checks import Verdict
from trainer.release.export import export
from trainer.release.thresholds import Thresholds

EXTRA = Path("assets.extra")
FIGURES = EXTRA / "figures"
KEPT = (novelty.NAME, examples.PICTURE, examples.INDEX, "evaluation.json")  # of the run, for serving and its page


@contextmanager
def candidate(
    model: keras.Model, temperature: float, card: ModelCard, run: Path, thresholds: Thresholds
) -> Iterator[ModelStore]:
    """A store of its own inside the run's directory, with the model's export as its only version, 1.

    A server can be started on it, and nothing that is not accepted has entered `models/`. It is removed on the way
    out. Where the LiteRT form cannot be made, the version lacks it, and its card says why.

    Raises:
        OSError, RegistryError: the disk is full or may not be written.
    """
    with tempfile.TemporaryDirectory(prefix=".candidate-", dir=run) as root:
        store = ModelStore(Path(root), card.name)
        with store.stage() as staged:
            flatbuffer = export(model, staged, temperature, thresholds.infra_tolerance)
            store.publish(staged, replace(card, metrics={**card.metrics, "litert": flatbuffer}))
        yield store


def push(judged: ModelStore, verdict: Verdict, run: Path, store: ModelStore) -> int:
    """Publishes the very files that were judged as the next version of `store`.

    The version's `assets.extra` gets the card with the verdict, the card in words, and what the directory of the
    `run` has of KEPT and of figures.

    Raises:
        RegistryError: it could not be published; the versions there before are untouched.
    """
    card = replace(judged.card(1), verdict=verdict.to_json())
    source = judged.path(1)
    with store.stage() as staged:
        with refusals("publish a version", store.directory):
            # File by file: of a full disk, `shutil.copytree` makes a list of errors that nobody can read.
            for path in sorted(source.rglob("*")):
                _copy(path, staged / path.relative_to(source))
            for path in sorted((run / "figures").glob("*.png")):
                _copy(path, staged / FIGURES / path.name)
            for path in (run / name for name in KEPT if (run / name).is_file()):
                _copy(path, staged / EXTRA / path.name)
            (staged / words.PATH).write_text(words.model_card(card, verdict), encoding="utf-8")
        return store.publish(staged, card)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        target.mkdir()
        return
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, target)
