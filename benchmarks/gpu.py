"""This trainer on one NVIDIA GPU: an epoch's time by model, precision and batch size, and the time to 0.94 accuracy.

    python -m benchmarks.gpu | tee gpu.md     or, with the extra `jax`,     KERAS_BACKEND=jax python -m benchmarks.gpu

It prints Markdown. The epochs are of the paper's recipe, which augments no images: augmenting them is the CPU's work.
The time to the accuracy is that of the recipe `residual`, with all that it does, in the precision that it chooses.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import distributions, version
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf

from trainer.config import MODELS, TrainConfig
from trainer.data.batches import TrainingBatches, evaluation_batches
from trainer.data.dataset import ImageDataset
from trainer.data.load import load
from trainer.devices import resolved
from trainer.recipes import RECIPES
from trainer.training import fit

# What the table calls a precision -> the trainer's name for it. TF32 multiplies with 10 bits of each number's fraction.
PRECISIONS = {
    "float32": "float32",
    "float32 with TF32": "float32",
    "mixed_float16": "mixed_float16",
    "mixed_bfloat16": "mixed_bfloat16",
}
NVIDIA = ("nvidia-cuda-runtime", "nvidia-cudnn")  # packages that TensorFlow and JAX bring, one for each CUDA version


def hardware() -> str:
    """The device that is measured, and the NVIDIA driver."""
    if on_jax():
        import jax

        device = jax.devices()[0]
        name = device.device_kind if device.platform == "gpu" else None
    else:
        gpus = tf.config.list_physical_devices("GPU")
        name = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else None
    if name is None:
        return f"No GPU: {platform.machine()} CPU, {os.cpu_count()} cores"
    command = ["nvidia-smi", "--id=0", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return f"{name}, driver {driver}"


def software() -> str:
    """Python, Keras's backend, and the versions of the libraries that compute."""
    names = ["keras", "tensorflow", *(["jax"] if on_jax() else [])]
    names += sorted({each.name for each in distributions() if each.name.startswith(NVIDIA)})
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"Python {platform.python_version()}, Keras on {keras.backend.backend()}; {versions}"


def on_jax() -> bool:
    return keras.backend.backend() == "jax"


def use_tf32(on: bool) -> None:
    """Whether float32 products and convolutions of what is compiled from now on are computed in TF32."""
    tf.config.experimental.enable_tensor_float_32_execution(on)
    if on_jax():
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if on else "float32")


def epochs(config: TrainConfig, dataset: ImageDataset) -> Iterator[tuple[float, keras.Model]]:
    """Trains by the config; gives each epoch's seconds, and the model after it. The first epoch compiles."""
    keras.utils.clear_session()  # or the GPU would keep the models before
    keras.utils.set_random_seed(config.seed)
    batches = TrainingBatches(dataset.train, config)
    model = fit.compiled(config, dataset, batches.steps)
    for epoch in range(config.epochs):
        start = time.perf_counter()
        # One call an epoch, so that what is done between them is not timed.
        model.fit(batches.dataset, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0, callbacks=[batches])
        yield time.perf_counter() - start, model


def speed(config: TrainConfig, dataset: ImageDataset, rounds: int) -> list[str]:
    """Cells: median and range of the seconds of `rounds` epochs after the first, and images a second."""
    _, *seconds = [taken for taken, _ in islice(epochs(config, dataset), 1 + rounds)]
    median = statistics.median(seconds)
    return [f"{median:.2f} ({min(seconds):.2f} to {max(seconds):.2f})", f"{len(dataset.train) / median:,.0f}"]


def time_to(target: float, config: TrainConfig, dataset: ImageDataset) -> str:
    """A sentence: after how many seconds of training the test accuracy first was `target`, tested after each epoch."""
    test, seconds, best = evaluation_batches(dataset.test), [], 0.0
    for taken, model in epochs(config, dataset):
        seconds.append(taken)
        best = max(best, model.evaluate(test, verbose=0, return_dict=True)["accuracy"])
        if best >= target:
            break
    outcome = f"reached {target:g}" if best >= target else f"did not reach {target:g}, but {best:.4f} at best,"
    return (
        f"`{config.model}` {outcome} on the test images in epoch {len(seconds)} of {config.epochs}, after "
        f"{sum(seconds):.1f} s of training, seed {config.seed}, in {resolved(config.precision)}. "
        f"The first epoch, which compiles, took {seconds[0]:.1f} s of them; the tests are not in them."
    )


def show(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    options.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    options.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=list(PRECISIONS))
    options.add_argument("--batches", nargs="+", type=int, default=[64, 256, 1024])
    options.add_argument("--rounds", type=int, default=3, help="epochs that are timed, after one that is not")
    options.add_argument("--target", type=float, default=0.94, help="test accuracy that `residual` is to reach")
    options.add_argument("--dataset", default="fashion_mnist", help="as the trainer's; a small one to try this out")
    options.add_argument("--artifacts", type=Path, default=Path(os.environ.get("ARTIFACTS", "artifacts")))
    given = options.parse_args()
    if on_jax():
        tf.config.set_visible_devices([], "GPU")  # or TensorFlow, which only feeds JAX, would take the GPU's memory
    try:  # before an hour is spent
        for name in given.precisions:
            resolved(PRECISIONS[name])
    except ValueError as error:
        options.error(str(error))
    dataset = load(given.dataset, given.artifacts / "data")
    print(f"{hardware()}.\n{software()}.\n")
    print(f"An epoch of {len(dataset.train):,} images; median of {given.rounds} (range).\n")
    show("model", "precision", "batch", "seconds an epoch", "images a second")
    show(*["---"] * 5)
    for model in given.models:
        for name in given.precisions:
            use_tf32(name != "float32")
            for batch in given.batches:
                config = replace(RECIPES["paper"], model=model, precision=PRECISIONS[name], batch_size=batch)
                show(model, name, str(batch), *speed(config, dataset, given.rounds))
    if "residual" in given.models:
        use_tf32(True)  # as TensorFlow does by itself
        print(f"\n{time_to(given.target, RECIPES['residual'], dataset)}")


if __name__ == "__main__":
    main()
