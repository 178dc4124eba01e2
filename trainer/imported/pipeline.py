"""The import pipeline: read, check, wrap, evaluate, judge, push."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from registry.card import CardError, ModelCard
from registry.disk import hashes, write_json
from registry.store import ModelStore
from registry.text import counted
from trainer.data.dataset import ImageDataset, Split
from trainer.evaluation.calibration import fit_temperature
from trainer.evaluation.metrics import Evaluation, measure
from trainer.evaluation.robustness import KINDS, MOST, Robustness, robustness
from trainer.imported import ranges
from trainer.imported.card import card_of
from trainer.imported.export import export
from trainer.imported.model import ImportedModel
from trainer.imported.options import ImportedModelError, ImportOptions
from trainer.imported.pictures import samples, test_set
from trainer.imported.read import read
from trainer.pipeline import user
from trainer.release import checks, examples
from trainer.release.checks import Check, Verdict
from trainer.release.finished import EXPORT
from trainer.release.latency import latencies
from trainer.release.live_server import infra
from trainer.release.push import as_only_version, push
from trainer.release.thresholds import Thresholds, thresholds_for
from trainer.release.verdict import judge

# Fewer pictures say too little of how certain a model may be: if none of them is classified wrongly, the best
# temperature is the lowest.
CALIBRATING = 50
# A large model's pictures are corrupted and classified for about so long, but so many of them at least: an accuracy is
# then known to five points.
ROBUSTNESS_SECONDS, FEWEST = 120.0, 200


@dataclass(frozen=True)
class Imported:
    """What an import came to; `version` is None where the gate refused the model, and `verdict` where nobody judged."""

    card: ModelCard
    checks: tuple[Check, ...]
    verdict: Verdict | None
    store: ModelStore
    version: int | None


@dataclass(frozen=True)
class Test:
    """What the test pictures showed."""

    pictures: ImageDataset
    evaluation: Evaluation
    robust: Robustness

    def to_json(self) -> dict[str, Any]:
        return {
            **self.evaluation.to_json(self.pictures.classes),
            "robust_accuracy": self.robust.mean,
            "robustness_images": self.robust.right.shape[1],
            "robustness": self.robust.to_json(),
        }


def run(options: ImportOptions) -> Imported:
    """Imports a model, and pushes it if it may be served.

    Raises:
        ImportedModelError: the model cannot be imported, or not with these options.
        DataError: the pictures cannot be used.
        RegistryError, OSError: the disk refuses.
    """
    store = ModelStore(options.artifacts / "models", options.name)
    store.served()  # so that a broken pin is reported before the tests
    thresholds = thresholds_for("", options.overrides)
    model = ImportedModel.of(read(options), options)
    print(f"{options.path} is {model}.", flush=True)
    tested = test_set(options, model.shape)
    chosen = samples(options, tested, model.shape)
    checked = _check_range(model, chosen, options)
    print(checked, flush=True)
    model, test = _tested(model, tested)
    options.artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=options.artifacts) as folder:
        run, exported = Path(folder), Path(folder) / EXPORT
        exported.mkdir()
        litert = export(model, options.path, exported, thresholds.infra_tolerance)
        images = test.pictures.test.images if test else chosen.images if chosen else _noise(model.shape)
        metrics: dict[str, Any] = test.to_json() if test else {}
        metrics |= {"range_check": checked, "litert": litert, **latencies(exported, images)}
        metrics |= {"parameters": model.source.parameters} if model.source.parameters else {}
        card = card_of(model, options, tested, metrics)
        live = _asked(model, card, images, exported, thresholds)
        card = replace(card, metrics=metrics | {"live_server": live.sentence})
        verdict, found = _judged(card, live, test, store, thresholds)
        if verdict and not verdict.accepted and options.reason:
            verdict = replace(verdict, forced=options.reason, forced_by=user())
        if not all(check.passed for check in found) and not options.reason:
            return Imported(card, found, verdict, store, None)
        if test:
            write_json(run / "evaluation.json", card.metrics)
            examples.draw(test.pictures.test, test.evaluation.predicted, test.evaluation.confusion, run)
        return Imported(card, found, verdict, store, push(run, card, verdict, store))


def _check_range(model: ImportedModel, pictures: Split | None, options: ImportOptions) -> str:
    if model.source.range:
        return f"The range {model.source.range} was read from the file."
    if pictures is None:
        return f"The range {model.range} was not checked on pictures: give --samples or --test for that."
    try:
        return ranges.check(model, pictures)
    except ImportedModelError as error:
        if not options.reason:
            raise
        return f"Forced although: {error}"


def _tested(model: ImportedModel, pictures: ImageDataset | None) -> tuple[ImportedModel, Test | None]:
    """The model, calibrated where there are enough pictures for that, and what the test pictures show."""
    if pictures is None:
        return model, None
    fitting, test = pictures.validation, pictures.test
    if len(fitting) >= CALIBRATING:
        model = replace(model, temperature=fit_temperature(model.logits(fitting.images), fitting.labels))
    else:
        print(f"Not calibrated: that needs {CALIBRATING} pictures beside the test pictures. Received: {len(fitting)}.")
    print(f"Testing on {counted(len(test), 'picture')}.", flush=True)
    start = time.perf_counter()
    logits = model.logits(test.images)
    seconds = (time.perf_counter() - start) / len(test)
    evaluation = measure(logits, test.labels, len(pictures.classes), model.temperature)
    count = min(len(test), _corrupted(seconds))
    print(f"Testing on {count:,} of them, each corrupted in {len(KINDS)} ways.", flush=True)
    return model, Test(pictures, evaluation, robustness(model.logits, test, most=count))


def _corrupted(seconds: float) -> int:
    """How many pictures to corrupt at most, by the seconds that the model takes for one."""
    return min(MOST, max(FEWEST, int(ROBUSTNESS_SECONDS / (len(KINDS) * seconds))))


def _asked(model: ImportedModel, card: ModelCard, images: np.ndarray, exported: Path, thresholds: Thresholds) -> Check:
    """The outcome of asking a real server for what the framework that made the model answers."""
    replace(card, files=hashes(exported)).write(exported)
    runtime = "tensorflow" if model.source.graph else "litert"
    with as_only_version(exported, card.name) as models:
        return infra(models, card.classes, images, model.probabilities, thresholds, runtime)


def _judged(
    card: ModelCard, live: Check, test: Test | None, store: ModelStore, thresholds: Thresholds
) -> tuple[Verdict | None, tuple[Check, ...]]:
    """The gate's verdict and its checks; without test pictures, only a successor of a served version is judged."""
    if test:
        verdict = judge(card, live, test.evaluation, test.robust, test.pictures, store, thresholds)
        return verdict, verdict.checks
    served = store.served()
    if served is None and live.passed:
        return None, (live,)
    found: tuple[Check, ...] = (live,)
    if served is not None:
        sentence = (
            f"Version {served} of {store.name} is served, and without pictures the new one cannot be compared with "
            "it: give --test folder:PATH."
        )
        found = (*_same_kind(card, store, served), Check("tested", False, None, None, sentence), live)
    return Verdict(thresholds, found, served), found


def _same_kind(card: ModelCard, store: ModelStore, served: int) -> tuple[Check, ...]:
    """The check that clients of the served version need not change, where it fails."""
    try:
        check = checks.same_kind(card, store.card(served))
    except CardError:
        return ()
    return () if check.passed else (check,)


def _noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, *shape), np.uint8)
