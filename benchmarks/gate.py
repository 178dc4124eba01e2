"""How often the gate refuses equally good models, and whether it refuses worse ones: python -m benchmarks.gate

Equally good: the same config trained from seeds 0 to N-1, each compared with the seed after it, as if that were the
served version. Worse than seed 0: trained on shuffled labels, trained without one class, weights quantised to noise.
To save hours, the basic model is trained by the default recipe on half of the training images for fewer epochs; all
test images are used. The models' outputs are kept in the artifacts, so that a second run does not train. The infra
check is left out, because it tests the export and has nothing random.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from registry.text import table
from trainer.data.dataset import ImageDataset, Split
from trainer.data.load import load
from trainer.evaluation.metrics import Evaluation, calibrated_temperature, measure, predict_logits
from trainer.evaluation.robustness import KINDS, Robustness, robustness
from trainer.recipes import RECIPES
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
    options.add_argument("--images", type=int, default=24_000, help="training images")
    options.add_argument("--epochs", type=int, default=10)
    given = options.parse_args()
    dataset = load("fashion_mnist", given.artifacts / "data")
    dataset = replace(dataset, train=dataset.train[: given.images], validation=dataset.validation[:2000])
    recipe = replace(RECIPES["default"], epochs=given.epochs)
    folder = given.artifacts / "benchmarks" / f"gate-{given.images}-{recipe.fingerprint()}"
    folder.mkdir(parents=True, exist_ok=True)
    equals = [
        _answers(folder / f"seed-{seed}.npz", dataset, lambda seed=seed: _trained(dataset, given.epochs, seed))
        for seed in range(given.seeds)
    ]
    print(_false_refusals(equals, dataset))
    for name, model in _worse(dataset, given.epochs):
        print(f"\n{name}\n{_reasons(_answers(folder / f'{name}.npz', dataset, model), equals[0], dataset)}")


def every_check(new: Answers, old: Answers, dataset: ImageDataset) -> list[Check]:
    """Every check but the infra check and the comparison of the data, which is the same here."""
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
    pairs = {
        (new, old): every_check(equals[new], equals[old], dataset)
        for new, old in itertools.permutations(range(count), 2)
    }
    refused = {pair: [not check.passed for check in found] for pair, found in pairs.items()}
    neighbours = np.array([refused[seed, (seed + 1) % count] for seed in range(count)])
    everyone = np.array([*refused.values()])
    names = [check.name for check in pairs[0, 1]]
    columns = [*zip(names, neighbours.T, everyone.T, strict=True)]
    columns.append(("any check", neighbours.any(axis=1), everyone.any(axis=1)))
    rows = [["refused by", f"{count} pairs", f"all {len(pairs)} ordered pairs"]]
    rows += [[name, f"{some.mean():.1%}", f"{every.mean():.1%}"] for name, some, every in columns]
    accuracies = [each[0].accuracy for each in equals]
    errors = [each[0].calibrated.ece for each in equals]
    spread = f"accuracy {np.mean(accuracies):.4f}, standard deviation {np.std(accuracies, ddof=1):.4f}"
    return f"{count} seeds: {spread}; ECE {min(errors):.4f} to {max(errors):.4f}\n\n{table(rows)}"


def _reasons(new: Answers, old: Answers, dataset: ImageDataset) -> str:
    return table([[check.name, check.sentence] for check in every_check(new, old, dataset) if not check.passed])


def _worse(dataset: ImageDataset, epochs: int) -> Iterator[tuple[str, Callable[[], keras.Model]]]:
    images, labels = dataset.train.images, dataset.train.labels
    shuffled = Split(images, np.random.default_rng(0).permutation(labels))
    others = labels != dataset.classes.index(DROPPED)
    without = Split(images[others], labels[others])
    yield "shuffled labels", lambda: _trained(replace(dataset, train=shuffled), epochs, 100)
    yield f"without {DROPPED}", lambda: _trained(replace(dataset, train=without), epochs, 100)
    yield "weights quantised", lambda: _quantised(_trained(dataset, epochs, 100))


def _quantised(model: keras.Model) -> keras.Model:
    """Weights rounded to multiples of four standard deviations, which leaves hardly any but zeros."""
    model.set_weights([np.round(each / (4 * each.std() + 1e-9)) * 4 * each.std() for each in model.get_weights()])
    return model


def _trained(dataset: ImageDataset, epochs: int, seed: int) -> keras.Model:
    config = replace(RECIPES["default"], epochs=epochs, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        return train(config, dataset, Path(folder)).model


def _answers(path: Path, dataset: ImageDataset, make: Callable[[], keras.Model]) -> Answers:
    """A model's outputs for the test images; read from `path` if an earlier run wrote them."""
    classes = len(dataset.classes)
    if not path.exists():
        model = make()
        temperature = calibrated_temperature(model, dataset.validation)
        right = robustness(model.predict_on_batch, dataset.test).right
        logits = predict_logits(model, dataset.test)
        np.savez(path, logits=logits, temperature=temperature, right=right)
        keras.backend.clear_session()
    with np.load(path) as saved:
        evaluation = measure(saved["logits"], dataset.test.labels, classes, float(saved["temperature"]))
        return evaluation, Robustness(KINDS, saved["right"])


if __name__ == "__main__":
    main()
