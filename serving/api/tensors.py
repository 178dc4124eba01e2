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
from serving.images.pixels import Images, brief, check_count, flat, from_numbers

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


def member(owner: dict[str, Any], key: str, kind: type[Any], default: Any, expected: str) -> Any:
    """`owner[key]`, or the default where it is absent or null, as clients that are generated from a schema send it.

    Raises InvalidImageError, with what was `expected`, for a value of another kind and for a number below 0.
    """
    value = owner.get(key)
    if value is None:
        return default
    if type(value) is not kind or (kind is int and value < 0):
        raise InvalidImageError(f"{expected}. Received: {brief(value)}.")
    return value


def read_images(tensor: dict[str, Any], spec: TensorSpec, binary: memoryview, most: int) -> Images:
    """The images of the one input tensor.

    Args:
        tensor: {"name", "shape", "datatype", "data" or parameters.binary_data_size}.
        spec: of the model's input; a single channel may be left out.
        binary: what follows the JSON in the body.
        most: images that a request may hold.

    Returns:
        Shape (n, height, width, channels).

    Raises:
        InvalidImageError: what the protocol or the model refuses.
        TooLargeError: more than `most` images.
    """
    name, shape = brief(tensor.get("name")), spec.shape
    datatype = tensor.get("datatype")
    dtype = DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        kinds = ", ".join(DTYPES)
        raise InvalidImageError(f"The datatype of input {name} must be one of {kinds}. Received: {brief(datatype)}.")
    count = _count(tensor.get("shape"), name, shape)
    check_count(count, most)
    numbers = count * math.prod(shape)
    parameters = member(tensor, "parameters", dict, {}, "The parameters of an input must be an object")
    size = member(parameters, "binary_data_size", int, None, "`binary_data_size` must be a number of bytes")
    wanted = 0 if size is None else numbers * np.dtype(dtype).itemsize
    data = tensor.get("data")
    if size is not None and (data is not None or size != wanted or len(binary) < wanted):
        raise InvalidImageError(
            f"Input {name} must have {wanted} bytes after the JSON and no data in it. "
            f"Received: binary_data_size {size}, {len(binary)} bytes{', and data' * (data is not None)}."
        )
    if len(binary) > wanted:
        raise InvalidImageError(f"The body must end with its last tensor. Received: {len(binary) - wanted} bytes more.")
    values = flat(data, numbers, f"data of input {name}") if size is None else np.frombuffer(binary, dtype)
    return from_numbers(values, "data[{}]".format, spec.dtype.startswith("float")).reshape(-1, *shape)


def _count(sizes: Any, name: str, shape: tuple[int, ...]) -> int:
    """How many images a tensor of these `sizes` holds."""
    known = [shape, shape[:2]] if shape[2] == 1 else [shape]
    whole = isinstance(sizes, list) and all(type(size) is int and size > 0 for size in sizes)
    if whole and tuple(sizes[1:]) in known:
        count: int = sizes[0]
        return count
    # Lists in it may be nested more deeply than json.dumps can go.
    nested = not isinstance(sizes, list) or not sizes or any(isinstance(each, list | dict) for each in sizes)
    came = brief(sizes) if nested else f"{json.dumps(sizes):.60}"
    raise InvalidImageError(f"The shape of input {name} must be {[-1, *shape]}, -1 for any number. Received: {came}.")


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
