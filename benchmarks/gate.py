"""How often the gate refuses equally good models, and whether it refuses worse ones: python -m benchmarks.gate

Equally good: the same config trained from seeds 0 to N-1, each judged against the seed after it, which is played as
the version now served. Worse, against seed 0: labels shuffled, one class dropped, weights quantised to noise.
The basic model learns half of the training images by the default recipe in fewer epochs, for two dozen whole trainings
would take hours; all test images judge. What was answered is kept beside the other artifacts, so that a second run
only judges.
The infra check is left out: it is about the export and not about chance.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from registry.tables import table
from trainer.config import RECIPES
from trainer.data.dataset import ImageDataset, Split
from trainer.data.load import load
from trainer.evaluation.metrics import Evaluation, calibrated_temperature, measure, predict_logits
from trainer.evaluation.robustness import CORRUPTIONS, Robustness, robustness
from trainer.release import checks
from trainer.release.checks import Check
from trainer.release.thresholds import thresholds_for
from trainer.training.fit import train

Answers = tuple[Evaluation, Robustness]

DROPPED = "Sandal"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    options.add_argument("--artifacts", type=Path, default=os.environ.get("ARTIFACTS", "artifacts"))
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--images", type=int, default=24_000, help="training images; all test images judge")
    options.add_argument("--epochs", type=int, default=10)
    given = options.parse_args()
    dataset = load("fashion_mnist", given.artifacts / "data")
    dataset = replace(dataset, train=dataset.train[: given.images], validation=dataset.validation[:2000])
    folder = given.artifacts / "benchmarks" / f"gate-{given.images}-{given.epochs}"
    folder.mkdir(parents=True, exist_ok=True)
    equals = [
        _kept(folder / f"seed-{seed}.npz", dataset, lambda seed=seed: _trained(dataset, given.epochs, seed))
        for seed in range(given.seeds)
    ]
    print(_false_refusals(equals, dataset))
    for name, model in _worse(dataset, given.epochs):
        print(f"\n{name}\n{_reasons(_kept(folder / f'{name}.npz', dataset, model), equals[0], dataset)}")


def every_check(new: Answers, old: Answers, dataset: ImageDataset) -> list[Check]:
    """Every check but the infra check and the kind of the data, which is the same here."""
    thresholds, labels = thresholds_for(dataset.known), dataset.test.labels
    right, served = new[0].predicted == labels, old[0].predicted == labels
    return [
        checks.accuracy_floor(new[0], thresholds),
        checks.recall_floor(new[0], dataset.classes, thresholds),
        checks.calibration_bound(new[0], thresholds),
        checks.accuracy_kept(right, served, thresholds),
        checks.recall_kept(right, served, labels, dataset.classes, thresholds),
        checks.robustness_kept(new[1], old[1], thresholds),
    ]


def _false_refusals(equals: list[Answers], dataset: ImageDataset) -> str:
    count = len(equals)
    verdicts = {
        (new, old): every_check(equals[new], equals[old], dataset)
        for new in range(count)
        for old in range(count)
        if new != old
    }
    neighbours = [verdicts[seed, (seed + 1) % count] for seed in range(count)]
    rows = [["refused by", f"{count} pairs", f"all {len(verdicts)} ordered pairs"]]
    for index, check in enumerate(neighbours[0]):
        pairs, all_pairs = (
            np.mean([not each[index].passed for each in judged]) for judged in (neighbours, verdicts.values())
        )
        rows.append([check.name, f"{pairs:.1%}", f"{all_pairs:.1%}"])
    pairs, all_pairs = (
        np.mean([any(not check.passed for check in each) for each in judged])
        for judged in (neighbours, verdicts.values())
    )
    rows.append(["any check", f"{pairs:.1%}", f"{all_pairs:.1%}"])
    accuracies = [each[0].accuracy for each in equals]
    errors = [each[0].calibrated.ece for each in equals]
    spread = f"accuracy {np.mean(accuracies):.4f}, standard deviation {np.std(accuracies, ddof=1):.4f}"
    return f"{count} seeds: {spread}; ECE {min(errors):.4f} to {max(errors):.4f}\n\n{table(rows)}"


def _reasons(new: Answers, old: Answers, dataset: ImageDataset) -> str:
    return table([[check.name, check.sentence] for check in every_check(new, old, dataset) if not check.passed])


def _worse(dataset: ImageDataset, epochs: int) -> Iterator[tuple[str, Callable[[], keras.Model]]]:
    images, labels = dataset.train.images, dataset.train.labels
    shuffled = Split(images, np.random.default_rng(0).permutation(labels))
    kept = labels != dataset.classes.index(DROPPED)
    without = Split(images[kept], labels[kept])
    yield "shuffled labels", lambda: _trained(replace(dataset, train=shuffled), epochs, 100)
    yield f"{DROPPED} dropped", lambda: _trained(replace(dataset, train=without), epochs, 100)
    yield "weights quantised", lambda: _quantised(_trained(dataset, epochs, 100))


def _quantised(model: keras.Model) -> keras.Model:
    """Weights rounded to multiples of four standard deviations: hardly any but zeros are left."""
    model.set_weights([np.round(each / (4 * each.std() + 1e-9)) * 4 * each.std() for each in model.get_weights()])
    return model


def _trained(dataset: ImageDataset, epochs: int, seed: int) -> keras.Model:
    config = replace(RECIPES["default"], epochs=epochs, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return train(config, dataset, Path(folder)).model


def _kept(path: Path, dataset: ImageDataset, make: Callable[[], keras.Model]) -> Answers:
    """A model's answers to the test images, from disk where they are there."""
    kinds = tuple((name, strength) for name, (_, strengths) in CORRUPTIONS.items() for strength in strengths)
    classes = len(dataset.classes)
    if not path.exists():
        model = make()
        temperature = calibrated_temperature(model, dataset.validation)
        right = robustness(model.predict_on_batch, dataset.test).right
        logits = predict_logits(model, dataset.test)
        np.savez(path, logits=logits, temperature=temperature, right=right)
        keras.backend.clear_session()
    with np.load(path) as kept:
        evaluation = measure(kept["logits"], dataset.test.labels, classes, float(kept["temperature"]))
        return evaluation, Robustness(kinds, kept["right"])


if __name__ == "__main__":
    main()
