"""The second runtime: one version's flatbuffer on LiteRT, in a process without TensorFlow."""

import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from registry.card import ModelCard
from registry.store import FLATBUFFER
from serving.images.pixels import Images
from serving.model.served import LONGEST_RUN, ModelError, quickest

# An interpreter is made for one size. Time grows with the images, so runs are split, never padded; more sizes than
# these would save a tenth of the time between them, and take 3 MB each. Large models take hundreds of MB for 32 images
# and save nothing, so a size is left out if its run would take too long.
SIZES = (1, 2, 8, 32)


class LiteRTPredictor:
    """One version on LiteRT: loaded, checked against its card and warm once constructed. Thread-safe.

    Args:
        directory: of the version, with its flatbuffer and its card.
        version: its number.
        threads: that compute one run.

    Raises:
        CardError: the card is missing or damaged.
        ModelError: there is no flatbuffer, it does not load, or it is not what the card says.
    """

    batches = False

    def __init__(self, directory: Path, version: int, threads: int = 1) -> None:
        self.card = ModelCard.read(directory)
        self.version = version
        self._lock = threading.Lock()
        path = directory / FLATBUFFER
        if not path.is_file():
            raise ModelError(f"{directory} holds no {FLATBUFFER}: push it again, or set RUNTIME=tensorflow")
        try:
            self._runs = {1: _Run(path, 1, self.card, threads)}
            seconds = quickest(lambda: self._runs[1].answer(np.zeros((1, *self.card.input.shape), np.uint8)))
            for size in SIZES[1:]:
                if size * seconds <= LONGEST_RUN and self._runs[1].any_size:
                    self._runs[size] = _Run(path, size, self.card, threads)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{path} does not load: {str(error).splitlines()[0]}") from error
        answer = self.predict(np.full((1, *self.card.input.shape), 255, np.uint8))
        if answer.shape != (1, len(self.card.classes)) or not np.allclose(answer.sum(axis=1), 1, atol=1e-3):
            raise ModelError(f"The flatbuffer must answer with probabilities. Received: {answer[0].tolist()}.")

    @property
    def largest(self) -> int:
        """Images of one run at most."""
        return max(self._runs)

    def predict(self, images: Images) -> NDArray[np.float32]:
        """Class probabilities.

        Args:
            images: raw pixels 0..255 of shape (n, height, width, channels), n at least 1.

        Returns:
            float32 of shape (n, classes), in the order of the card's classes.
        """
        rows, place = [], 0
        # An interpreter has one set of tensors, so it serves one caller at a time.
        with self._lock:
            while place < len(images):
                size = max(each for each in self._runs if each <= len(images) - place)
                rows.append(self._runs[size].answer(images[place : place + size]))
                place += size
        return rows[0] if len(rows) == 1 else np.concatenate(rows)


class _Run:
    """An interpreter for batches of one size, already run once."""

    def __init__(self, path: Path, size: int, card: ModelCard, threads: int) -> None:
        self._interpreter = Interpreter(str(path), num_threads=threads)
        (wanted,) = self._interpreter.get_input_details()
        (given,) = self._interpreter.get_output_details()
        shapes = (tuple(wanted["shape_signature"]), tuple(given["shape_signature"]))
        self.any_size = shapes[0][:1] == (-1,)
        batch = -1 if self.any_size else 1
        if shapes != ((batch, *card.input.shape), (batch, *card.output.shape)):
            raise ValueError(f"its shapes must be the card's. Received: {shapes}")
        self._input, self._output = wanted["index"], given["index"]
        self._dtype = wanted["dtype"]
        self._interpreter.resize_tensor_input(self._input, (size, *card.input.shape))
        self._interpreter.allocate_tensors()
        self.answer(np.zeros((size, *card.input.shape), np.uint8))

    def answer(self, images: Images) -> NDArray[np.float32]:
        self._interpreter.set_tensor(self._input, images.astype(self._dtype))
        self._interpreter.invoke()
        probabilities: NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return probabilities
