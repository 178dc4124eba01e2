"""mosec over the same flatbuffer, the fastest peer: its HTTP is written in Rust, and each worker is a process.

    VERSION=artifacts/models/NAME/1 python -m benchmarks.mosec_peer --port 8000

Answers POST /predict for the bodies of `benchmarks.serving` with a bare list of probabilities.
"""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from ai_edge_litert.interpreter import Interpreter
from mosec import Server, Worker
from PIL import Image

FLATBUFFER = Path(os.environ["VERSION"]) / "assets.extra" / "model.tflite"
SIZES = (1, 32)  # the batch sizes that the benchmark sends; an interpreter is made for one


class Model(Worker):
    """One process."""

    def __init__(self) -> None:
        self._interpreters = {size: self._interpreter(size) for size in SIZES}

    def _interpreter(self, size: int) -> tuple[Any, int, int]:
        interpreter = Interpreter(str(FLATBUFFER), num_threads=1)
        (wanted,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.resize_tensor_input(wanted["index"], (size, *wanted["shape"][1:]))
        interpreter.allocate_tensors()
        return interpreter, wanted["index"], given["index"]

    def deserialize(self, data: bytes) -> Any:
        """JSON, PNG or raw pixels as float32 of (n, 28, 28, 1)."""
        if data.startswith(b"{"):
            pixels = np.asarray(orjson.loads(data)["images"], np.float32)
        elif data.startswith(b"\x89PNG"):
            pixels = np.asarray(Image.open(io.BytesIO(data)), np.float32)
        else:
            pixels = np.frombuffer(data, np.uint8).astype(np.float32)
        return pixels.reshape(-1, 28, 28, 1)

    def forward(self, data: Any) -> Any:
        """Probabilities of shape (n, classes)."""
        interpreter, wanted, given = self._interpreters[len(data)]
        interpreter.set_tensor(wanted, data)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    def serialize(self, data: Any) -> bytes:
        """A list of lists."""
        return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=2, route="/predict")
    server.run()
