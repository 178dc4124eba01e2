"""What was tried for the recipes: python -m benchmarks.recipes [--only NAME ...] [--seeds 0 1 ...] [--test]

Each candidate is trained on Fashion-MNIST's training images; its best epoch is measured on the validation images, clean
and corrupted (trainer/evaluation/robustness.py). Nothing is chosen on the test images: `--test` measures on them the
recipes as they are, with the mean over the seeds and its 95 % interval. What is finished is kept in
`artifacts/benchmarks/recipes/`, so that a second call trains only the rest.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy import stats

from registry.disk import write_json
from registry.text import table
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.data.load import load
from trainer.evaluation.metrics import evaluate
from trainer.evaluation.robustness import robustness
from trainer.recipes import RECIPES
from trainer.training.fit import train

_DEEP = replace(RECIPES["default"], model="deep", epochs=24, batch_size=128, label_smoothing=0.0, weight_decay=4e-3)
_SMOOTH = replace(_DEEP, label_smoothing=0.05, batch_size=64)
_SHIFT_1 = replace(_DEEP, shift=1, erase=0.2)
# In bfloat16, which takes less time than float32 on processors that compute in it.
_RESIDUAL = replace(RECIPES["residual"], precision="mixed_bfloat16")
FINAL = {
    "default": replace(RECIPES["default"], model="deep"),
    "robust": replace(RECIPES["robust"], model="deep"),
    "residual": _RESIDUAL,
}
# `deep`, but for the last three; 24 epochs and batches of 128, where a name says nothing else and is no recipe's.
CANDIDATES: dict[str, TrainConfig] = {
    "scale, erase 0.25, 18 epochs": replace(_DEEP, normalization="scale", epochs=18, shift=0, erase=0.25),
    "shift 1, erase 0.2": _SHIFT_1,
    "shift 1, erase 0.2, noise 6, 20 epochs": replace(_SHIFT_1, epochs=20, noise=6),
    "shift 1, erase 0.2, noise 24, blur 1": replace(_SHIFT_1, noise=24, blur=1),
    "shift 1, erase 0.1, noise 16": replace(_SHIFT_1, erase=0.1, noise=16),
    "shift 2, erase 0.1": _DEEP,
    "shift 2, erase 0.1, 30 epochs, rate 0.003": replace(_DEEP, epochs=30, learning_rate=3e-3),
    "shift 2, erase 0.1, smoothing, batch 64, rate 0.003": replace(_SMOOTH, learning_rate=3e-3),
    "shift 2, erase 0.1, smoothing, batch 64, 26 epochs": replace(_SMOOTH, epochs=26),
    "shift 2, erase 0.1, smoothing, batch 64, 30 epochs": replace(_SMOOTH, epochs=30),
    "shift 1, erase 0.15, noise 4, smoothing, batch 64, 26 epochs": replace(
        _SMOOTH, shift=1, erase=0.15, noise=4, learning_rate=3e-3, epochs=26
    ),
    "default": FINAL["default"],
    "default, 26 epochs": replace(FINAL["default"], epochs=26),
    "default, weight decay 0.1": replace(FINAL["default"], weight_decay=0.1),
    "default, shift 1, erase 0.15, noise 4": replace(FINAL["default"], shift=1, erase=0.15, noise=4),
    "shift 2, rotate 12, noise 16, blur 0.8, 30 epochs": replace(
        _DEEP, rotate=12, erase=0.0, epochs=30, noise=16, blur=0.8
    ),
    "robust": FINAL["robust"],
    "residual, erase 0.2, noise 8, batch 128, 20 epochs": replace(
        _RESIDUAL, epochs=20, erase=0.2, noise=8, label_smoothing=0.0, batch_size=128, learning_rate=4e-3
    ),
    "residual, 36 epochs, erase 0.2, noise 4": replace(_RESIDUAL, epochs=36, erase=0.2, noise=4),
    "residual": _RESIDUAL,
}


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    options.add_argument("--artifacts", type=Path, default=os.environ.get("ARTIFACTS", "artifacts"))
    options.add_argument("--only", nargs="+", metavar="NAME", help=f"of these: {'; '.join(CANDIDATES)}")
    options.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="SEED")
    options.add_argument("--test", action="store_true", help=f"measure {', '.join(FINAL)} on the test images instead")
    given = options.parse_args()
    known = FINAL if given.test else CANDIDATES
    if unknown := set(given.only or ()) - set(known):
        options.error(f"--only must name some of: {'; '.join(known)}. Received: {', '.join(sorted(unknown))}.")
    dataset = load("fashion_mnist", given.artifacts / "data")
    folder = given.artifacts / "benchmarks" / "recipes"
    rows = [["recipe", "seconds", "clean", "corrupted", "mirror", "rotation", "shift", "noise", "blur", "contrast"]]
    for name in given.only or known:
        runs = [measured(replace(known[name], seed=seed), dataset, given.test, folder) for seed in given.seeds]
        rows.append([name, f"{np.median([run['seconds'] for run in runs]):.0f}", *_cells(runs)])
        print("\n" + table(rows), flush=True)


def measured(config: TrainConfig, dataset: ImageDataset, test: bool, folder: Path) -> dict[str, Any]:
    """Clean accuracy, corrupted accuracy by corruption, and seconds of one training."""
    directory, split = folder / config.fingerprint(), "test" if test else "validation"
    path = directory / f"{split}.json"
    if not path.exists():
        model, images = _trained(config, dataset, directory), getattr(dataset, split)
        robust = robustness(model.predict_on_batch, images)
        by_kind = {name: float(np.mean(list(each.values()))) for name, each in robust.to_json().items()}
        clean = evaluate(model, images, len(dataset.classes)).accuracy
        write_json(path, {"clean": clean, "corrupted": robust.mean, **by_kind})
    return json.loads(path.read_text()) | json.loads((directory / "training.json").read_text())


def _trained(config: TrainConfig, dataset: ImageDataset, directory: Path) -> keras.Model:
    """The config's model, trained unless it was before."""
    if (directory / "training.json").exists():
        return keras.models.load_model(directory / "model.keras")
    directory.mkdir(parents=True, exist_ok=True)
    trained = train(config, dataset, directory)
    write_json(directory / "training.json", {"seconds": trained.seconds, "config": config.asdict()})
    return trained.model


def _cells(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The mean over the runs of each measure, with the half of its 95 % interval where there are several."""
    cells = []
    for name in ("clean", "corrupted", "mirror", "rotation", "shift", "noise", "blur", "contrast"):
        values = [run[name] for run in runs]
        cell = f"{np.mean(values):.4f}"
        if len(values) > 1 and name in ("clean", "corrupted"):
            cell += f" +- {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.4f}"
        cells.append(cell)
    return cells


if __name__ == "__main__":
    main()
