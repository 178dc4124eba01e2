"""One epoch of this trainer beside four other ways to train the same models on the same 48,000 images.

    make bench ARGS=training     or     python -m benchmarks.training --rounds 3

The contenders run in turn, round after round, so that a machine whose speed drifts slows all of them alike; quote the
ratios to this trainer's median. The arithmetic floor is the epoch's floating point operations over the rate of a large
matrix product, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks import pytorch_loops
from registry.text import table
from trainer.data.batches import TrainingBatches
from trainer.data.dataset import ImageDataset
from trainer.data.load import load
from trainer.models.cnns import MODELS
from trainer.recipes import RECIPES
from trainer.training import fit

Epoch = Callable[[], object]
BATCH = 64
# Multiply-adds of one image forward, layer by layer (paper, sections 2.2 and 2.3).
FORWARD_MACS = {
    "basic": 28 * 28 * 16 * 9 + 3136 * 128 + 128 * 10,
    "deep": 28 * 28 * 16 * 9 + 12 * 12 * 32 * 9 * 16 + 1152 * 256 + 256 * 128 + 128 * 10,
}


def contenders(model: str, dataset: ImageDataset) -> dict[str, Epoch]:
    """Ways to train one epoch, ours first."""
    images, labels = dataset.train.images, dataset.train.labels
    return {
        "this trainer": _ours(model, dataset),
        "paper's PyTorch loop": pytorch_loops.paper_loop(model, images, labels, BATCH),
        "whole-tensor PyTorch loop": pytorch_loops.whole_tensor_loop(model, images, labels, BATCH),
        "model.fit on arrays": _fit_on_arrays(model, images, labels),
        "per-image tf.data": _per_image(model, images, labels),
    }


def _ours(model: str, dataset: ImageDataset) -> Epoch:
    config = replace(RECIPES["paper"], model=model, batch_size=BATCH)
    batches = TrainingBatches(dataset.train, config)
    net = fit.compiled(config, dataset, batches.steps)
    return lambda: net.fit(batches.dataset, shuffle=False, verbose=0, callbacks=[batches])


def _plain(model: str) -> keras.Model:
    net = MODELS[model]((28, 28, 1), 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=keras.optimizers.SGD(0.01), loss=loss, metrics=["accuracy"], jit_compile=False)
    return net


def _fit_on_arrays(model: str, images: np.ndarray, labels: np.ndarray) -> Epoch:
    net, scaled = _plain(model), images.astype(np.float32)
    return lambda: net.fit(scaled, labels, batch_size=BATCH, verbose=0)


def _per_image(model: str, images: np.ndarray, labels: np.ndarray) -> Epoch:
    net = _plain(model)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10_000)
    dataset = dataset.map(lambda image, label: (tf.cast(image, tf.float32), label), tf.data.AUTOTUNE)
    dataset = dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return lambda: net.fit(dataset, shuffle=False, verbose=0)


def _gigaflops() -> float:
    """Rate of a 2048-square float32 matrix product in TensorFlow, the best of five."""
    square = tf.random.normal([2048, 2048])
    return max(2 * 2048**3 / _seconds(lambda: tf.matmul(square, square).numpy()) / 1e9 for _ in range(5))


def _seconds(work: Epoch) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(model: str, dataset: ImageDataset, rounds: int) -> None:
    """Prints one table: median and range of the seconds of an epoch, and ratios to this trainer."""
    ways = contenders(model, dataset)
    for epoch in ways.values():
        epoch()  # once uncounted: tracing, caches, first touch of memory
    measured = [(_gigaflops(), {name: _seconds(epoch) for name, epoch in ways.items()}) for _ in range(rounds)]
    # Forward, gradients of the weights and gradients of the activations cost about the same.
    operations = 3 * 2 * FORWARD_MACS[model] * len(dataset.train) / 1e9
    rate = statistics.median(rate for rate, _ in measured)
    ours = statistics.median(seconds["this trainer"] for _, seconds in measured)
    rows = [["", "median s", "range", "this / it"]]
    for name in ways:
        values = [seconds[name] for _, seconds in measured]
        middle = statistics.median(values)
        rows.append([name, f"{middle:.2f}", f"{min(values):.2f} to {max(values):.2f}", f"{ours / middle:.2f}"])
    rows.append(["arithmetic floor", f"{operations / rate:.2f}", "", f"{ours * rate / operations:.2f}"])
    print(f"\n{model}: one epoch of {len(dataset.train):,} images, batches of {BATCH}, {rounds} rounds")
    print(f"{table(rows)}\nfloor: {operations:.0f} GFLOP at {rate:.0f} GFLOP/s")


def main() -> None:
    options = argparse.ArgumentParser(prog="benchmarks.training", description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--images", type=int, help="train on so many images only, to try it out")
    options.add_argument("--models", nargs="+", default=list(FORWARD_MACS), choices=list(FORWARD_MACS))
    options.add_argument("--artifacts", type=Path, default=Path(os.environ.get("ARTIFACTS", "artifacts")))
    arguments = options.parse_args()
    dataset = load("fashion_mnist", arguments.artifacts / "data")
    dataset = replace(dataset, train=dataset.train[: arguments.images])
    versions = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "torch", "numpy"))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}")
    for model in arguments.models:
        measure(model, dataset, arguments.rounds)


if __name__ == "__main__":
    main()
