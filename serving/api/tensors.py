"""Tensors of the Open Inference Protocol v2, as JSON and as bytes.

Protocol: https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md); binary and
classification extensions: https://github.com/triton-inference-server/server (docs/protocol).
"""

import json
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.card import TensorSpec
from serving.errors import InvalidImageError
from serving.images.pixels import Images, brief, flat, from_numbers

DTYPES = {
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def read_images(tensor: dict[str, Any], spec: TensorSpec, binary: memoryview) -> tuple[Images, int]:
    """The images of one input tensor.

    Args:
        tensor: {"name", "shape", "datatype", "data" or parameters.binary_data_size}.
        spec: of the model's input; a single channel may be left out.
        binary: what follows the JSON in the body, from this tensor on.

    Returns:
        Shape (n, height, width, channels), and how many bytes of `binary` were its own.

    Raises:
        InvalidImageError: what the protocol or the model refuses.
    """
    name, shape = brief(tensor.get("name")), spec.shape
    datatype = tensor.get("datatype")
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        kinds = ", ".join(DTYPES)
        raise InvalidImageError(f"The datatype of input {name} must be one of {kinds}. Received: {brief(datatype)}.")
    told = tensor.get("shape")
    sizes: list[Any] = told if isinstance(told, list) else []
    known = [shape, shape[:2]] if shape[2] == 1 else [shape]
    if tuple(sizes[1:]) not in known or not all(type(size) is int and size > 0 for size in sizes):
        # Lists in it may be nested more deeply than json.dumps can go.
        nested = any(isinstance(each, list | dict) for each in sizes)
        came = brief(told) if nested or not sizes else f"{json.dumps(sizes):.60}"
        raise InvalidImageError(
            f"The shape of input {name} must be {[-1, *shape]}, -1 for any number. Received: {came}."
        )
    count = math.prod(sizes)
    fractions = spec.dtype.startswith("float")
    size = _binary_size(tensor)
    if size is None:
        values = flat(tensor.get("data"), count, f"data of input {name}")
        return from_numbers(values, "data[{}]".format, fractions).reshape(-1, *shape), 0
    wanted = count * np.dtype(dtype).itemsize
    if "data" in tensor or size != wanted or len(binary) < wanted:
        raise InvalidImageError(
            f"Input {name} must have {wanted} bytes after the JSON and no data in it. "
            f"Received: binary_data_size {size}, {len(binary)} bytes{', and data' * ('data' in tensor)}."
        )
    pixels = np.frombuffer(binary[:wanted], dtype)
    return from_numbers(pixels, "data[{}]".format, fractions).reshape(-1, *shape), wanted


def _binary_size(tensor: dict[str, Any]) -> int | None:
    parameters = tensor.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidImageError(f"The parameters of an input must be an object. Received: {brief(parameters)}.")
    size = parameters.get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidImageError(f"`binary_data_size` must be a number of bytes. Received: {brief(size)}.")
    return size


def classes_of(probabilities: NDArray[np.float32], names: tuple[str, ...], count: int) -> list[list[str]]:
    """The `count` best classes of each image as "score:index:label", the best first (classification extension)."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return [
        [f"{row[index]:f}:{index}:{names[index]}" for index in indices]
        for row, indices in zip(probabilities, best.tolist(), strict=True)
    ]


def as_bytes(value: NDArray[np.float32] | list[list[str]]) -> bytes:
    """FP32 as it lies in memory, little-endian; BYTES each behind its length in four bytes, little-endian."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value, "<f4").tobytes()
    texts = [text.encode() for row in value for text in row]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
