"""How close each algorithm comes to an exhaustive grid, and at what share of its cost: python -m benchmarks.tuning

The grid is the default space: 2 models x 5 optimizers x 17 learning rates, each trained once on a part of
Fashion-MNIST's training images, the validation accuracy kept after each epoch. Every algorithm is then played over that
table from several seeds, through the very oracles that `make tune` uses: a trial's epochs are looked up instead of
trained, the median rule and Hyperband's rungs included. Cost is counted in epochs. The table is kept beside the other
artifacts, so that a second run only plays.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from registry.text import table
from trainer.config import TrainConfig
from trainer.data.dataset import ImageDataset
from trainer.data.load import load
from trainer.recipes import RECIPES
from trainer.training.fit import train
from tuning.oracles import ORACLES
from tuning.space import ALGORITHMS, Search
from tuning.trials import COMPLETED, SCORE

Histories = dict[TrainConfig, list[float]]
NEAR = 0.003


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    options.add_argument("--artifacts", type=Path, default=os.environ.get("ARTIFACTS", "artifacts"))
    options.add_argument("--images", type=int, default=4000, help="training images of the grid; 4,000 validate")
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--trials", type=int, nargs="+", default=[24, 48])
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--bayesian-seeds", type=int, default=5, help="fewer: it takes seconds to propose a trial")
    given = options.parse_args()
    search = Search(RECIPES["default"], epochs=given.epochs)
    dataset = load("fashion_mnist", given.artifacts / "data")
    dataset = replace(dataset, train=dataset.train[: given.images], validation=dataset.validation[:4000])
    path = given.artifacts / "benchmarks" / f"tuning-{given.images}-{given.epochs}.jsonl"
    histories = exhaustive(search, dataset, path)
    best, cost = max(map(max, histories.values())), sum(map(len, histories.values()))
    near = sum(max(history) >= best - NEAR for history in histories.values())
    print(f"Exhaustive grid: {len(histories)} trainings, {cost} epochs, best {best:.4f}, {near} within {NEAR} of it\n")
    rows = [["algorithm", "trials", "cost", "behind the best: mean", "worst", f"within {NEAR}"]]
    for algorithm, trials in itertools.product(ALGORITHMS, given.trials):
        seeds = given.bayesian_seeds if algorithm == "bayesian" else given.seeds
        searches = [replace(search, algorithm=algorithm, trials=trials, seed=seed) for seed in range(seeds)]
        found = [play(each, histories) for each in searches]
        behind, share = best - np.array([each[0] for each in found]), np.mean([each[1] for each in found]) / cost
        within = f"{(behind <= NEAR + 1e-9).sum()} of {len(found)}"
        rows.append([algorithm, str(trials), f"{share:.1%}", f"{behind.mean():.4f}", f"{behind.max():.4f}", within])
    print(table(rows))


def exhaustive(search: Search, dataset: ImageDataset, path: Path) -> Histories:
    """The validation accuracy after each epoch of every point of the space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    known: Histories = {TrainConfig(**each["config"]): each["history"] for each in map(json.loads, lines)}
    points = [_point(search, values) for values in search.points()]
    for config in points:
        if config not in known:
            known[config] = _trained(config, dataset)
            with path.open("a") as file:
                file.write(json.dumps({"config": config.asdict(), "history": known[config]}) + "\n")
    return {config: known[config] for config in points}


def play(search: Search, histories: Histories) -> tuple[float, int]:
    """The best validation accuracy that a search finds, and the epochs that it trains for it."""
    epochs = 0
    with tempfile.TemporaryDirectory() as folder:
        oracle = ORACLES[search.algorithm](search, Path(folder) / "oracle.json")
        while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
            values = trial.hyperparameters.values
            history = histories[_point(search, values)][: values.get("tuner/epochs", search.epochs)]
            for epoch, accuracy in enumerate(history):
                # A promoted trial of Hyperband is carried on; its first epochs are told, not trained.
                epochs += epoch >= values.get("tuner/initial_epoch", 0)
                if oracle.update_trial(trial.trial_id, {SCORE: accuracy}, epoch).status == "STOPPED":
                    break
            trial.status = COMPLETED
            oracle.end_trial(trial)
        return max(each.score or 0.0 for each in oracle.finished), epochs


def _point(search: Search, values: dict[str, Any]) -> TrainConfig:
    """A point of the space; all are trained from one seed."""
    return replace(search.config(values, 0), seed=0)


def _trained(config: TrainConfig, dataset: ImageDataset) -> list[float]:
    print(config, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        history = train(config, dataset, Path(folder)).history[SCORE]
    keras.backend.clear_session()
    return history


if __name__ == "__main__":
    main()
