"""The predictor: one version's SavedModel behind a plain function. The one file that imports TensorFlow."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.card import ModelCard
from registry.store import FLATBUFFER, SAVED_MODEL
from serving.images.pixels import Images
from serving.model.served import ModelError, pays, quickest

# TensorFlow reads this while it is imported: errors are shown, its remarks about the processor are not.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow imports Keras and JAX where they are installed, and goes without where not. Serving uses neither, and they
# would cost a worker 210 MB of memory, half of it its own, and a third of the time to import.
_SPARED = {"keras", "jax"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_SPARED))  # type: ignore[arg-type]  # None there is "no such module"
import tensorflow as tf  # noqa: E402

for _name in _SPARED:
    del sys.modules[_name]

SIGNATURE = "serving_default"
# Whatever a batch's size, TensorFlow meets these alone: it keeps memory, and XLA compiles, for each size that it meets.
# Powers of two waste at most half a run on padding. Larger runs gain nothing.
SIZES = (1, 2, 4, 8, 16, 32, 64)
# XLA saves the time to start each operation, tenths of a millisecond in all. A model whose single image takes longer
# than this hardly gains, and its convolutions may lose: a MobileNetV2 of 224 x 224 took 380 ms instead of 14 on a CPU,
# and 13 s a size to compile.
XLA_SECONDS = 0.01

# From a tensor of images to one of probabilities.
Call = Callable[[tf.Tensor], tf.Tensor]


class SavedModelPredictor:
    """One version on TensorFlow: loaded, checked against its card and warm once constructed. Thread-safe.

    Args:
        directory: of the version, with its SavedModel and its card.
        version: its number.
        xla: whether to compile each size with XLA.

    Raises:
        CardError: the card is missing or damaged.
        ModelError: the SavedModel does not load, or its signature or its answers are not those of the card.
    """

    batches = True

    def __init__(self, directory: Path, version: int, xla: bool = False) -> None:
        self.card = ModelCard.read(directory)
        self.version = version
        if FLATBUFFER in self.card.files and SAVED_MODEL not in self.card.files:
            raise ModelError(f"{directory} was imported from a TFLite file and holds no SavedModel: set RUNTIME=litert")
        try:
            # Kept, because a signature alone does not keep the model's variables alive.
            self._model = tf.saved_model.load(str(directory))
            self._signature = self._model.signatures[SIGNATURE]
        except Exception as error:
            # A damaged SavedModel raises anything from OSError over IndexError to TensorFlow's own errors.
            raise ModelError(f"{directory} does not load: {_first_line(error)}") from error
        self._check_signature()
        self._calls: dict[int, Call] = {}
        seconds = self._warm_up()
        if xla and seconds < XLA_SECONDS:
            self._compile()

    @property
    def largest(self) -> int:
        """Images of one run at most."""
        return max(self._calls)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities.

        Args:
            images: raw pixels 0..255 of shape (n, height, width, channels), n at least 1; any numeric dtype.

        Returns:
            float32 of shape (n, classes), in the order of the card's classes.
        """
        most = self.largest
        return np.concatenate([self._run(images[start : start + most]) for start in range(0, len(images), most)])

    def _run(self, images: Images) -> NDArray[np.float32]:
        """One run of the model for at most as many images as the largest size, padded with black ones."""
        size = next(each for each in self._calls if each >= len(images))
        # numpy converts pixels faster than TensorFlow does, and a tensor of one dtype never traces anew.
        padded = np.zeros((size, *self.card.input.shape), self.card.input.dtype)
        padded[: len(images)] = images
        probabilities: NDArray[np.float32] = self._calls[size](tf.constant(padded)).numpy()
        return probabilities[: len(images)]

    def _plain(self, tensor: tf.Tensor) -> tf.Tensor:
        return self._signature(**{self.card.input.name: tensor})[self.card.output.name]

    def _check_signature(self) -> None:
        card = self.card
        if len(card.input.shape) != 3 or card.input.shape[2] not in (1, 3):
            raise ModelError(f"The card's input must be (height, width, 1 or 3). Received: {card.input.shape}.")
        if card.output.shape != (len(card.classes),) or card.output.dtype != "float32":
            raise ModelError(
                f"The card's output must be float32 of ({len(card.classes)},), one a class. "
                f"Received: {card.output.dtype} of {card.output.shape}."
            )
        _, inputs = self._signature.structured_input_signature
        for kind, spec, tensors in (
            ("input", card.input, inputs),
            ("output", card.output, self._signature.structured_outputs),
        ):
            if _describe(tensors) != {spec.name: (spec.dtype, (None, *spec.shape))}:
                raise ModelError(
                    f"The SavedModel's {kind} must be {spec.name}, {spec.dtype} of (None, {spec.shape}), "
                    f"as its card says. Received: {_describe(tensors)}."
                )

    def _warm_up(self) -> float:
        """Run each size that pays, so that no client pays for a first run; return the seconds of one image."""
        seconds: list[float] = []
        for size in SIZES:
            self._calls[size] = self._plain
            images = np.full((size, *self.card.input.shape), 255, np.uint8)
            answer = self.predict(images)
            if not np.allclose(answer.sum(axis=1), 1, atol=1e-3):
                raise ModelError(f"The SavedModel must answer with probabilities. Received: {answer[0].tolist()}.")
            seconds.append(quickest(partial(self.predict, images)))
            if not pays(seconds):
                del self._calls[size]
                break
        return seconds[0]

    def _compile(self) -> None:
        """Have XLA compile the sizes, from the smallest to the last that it makes faster."""
        for size in self._calls:
            compiled, images = self._compiled(size), tf.zeros((size, *self.card.input.shape), self.card.input.dtype)
            if quickest(partial(compiled, images)) > quickest(partial(self._plain, images)):
                return
            self._calls[size] = compiled

    def _compiled(self, size: int) -> Call:
        """The signature compiled by XLA for `size` images; as it is where XLA fails or answers otherwise."""
        spec = self.card.input
        compiled = tf.function(self._plain, jit_compile=True, autograph=False)
        concrete: Call = compiled.get_concrete_function(tf.TensorSpec((size, *spec.shape), spec.dtype))
        images = tf.fill((size, *spec.shape), tf.cast(255, spec.dtype))
        try:
            same = np.allclose(concrete(images), self._plain(images), atol=1e-6)
        except tf.errors.OpError:  # such as bicubic resizing, for which XLA has no code
            same = False
        return concrete if same else self._plain


def limit_threads(count: int) -> None:
    """Let TensorFlow compute with `count` threads, and take GPU memory only as it needs it.

    It would size its pools by the host's processors, whatever the container may use. Call it before the first
    model is loaded; afterwards TensorFlow raises RuntimeError.
    """
    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    for device in tf.config.list_physical_devices("GPU"):
        # Or the first worker would take all of it.
        tf.config.experimental.set_memory_growth(device, True)


def _describe(tensors: dict[str, Any]) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    return {name: (tensor.dtype.name, tuple(tensor.shape)) for name, tensor in tensors.items()}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
