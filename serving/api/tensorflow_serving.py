"""TensorFlow Serving's REST API: https://www.tensorflow.org/tfx/serving/api_rest as of version 2.19.

Predict (row and columnar), status and metadata. Images are raw pixels, or files as {"b64": ...}; the default
signature is the only one, so classify and regress, which need others, are no routes here.
"""

import math
from typing import Any

import numpy as np
from flask import Blueprint, request

from registry.card import TensorSpec
from serving.api import body
from serving.api.replies import Reply, reply
from serving.errors import InvalidImageError
from serving.images.files import from_base64, from_files
from serving.images.json_body import parse, plain_pixels
from serving.images.pixels import Images, brief, check_count, from_lists, keys_of
from serving.model.models import Models
from serving.model.served import Predictor
from serving.observe import exchange_of
from serving.settings import Settings

SIGNATURE = "serving_default"


def blueprint(models: Models, settings: Settings) -> Blueprint:
    """The routes under /v1/models over `models`. Errors leave as {"error": sentence}."""
    routes = Blueprint("tensorflow_serving", __name__, url_prefix="/v1/models")

    @routes.post("/<model:name>:predict")
    @routes.post("/<model:name>/versions/<model:version>:predict")
    def predict(name: str, version: str | None = None) -> Reply:
        """{"instances": [...]} is answered with {"predictions": [...]}, {"inputs": ...} with {"outputs": ...}."""
        inference = models.named(name, wait=True)
        predictor = inference.predictor_of(version, wait=True)
        exchange = exchange_of(request.environ)
        text = body.read(request.environ, settings.max_body_bytes)
        key, images = _read(text, predictor, settings, exchange.deadline)
        probabilities = inference.run(exchange, predictor, images).probabilities
        return reply({"predictions" if key == "instances" else "outputs": np.ascontiguousarray(probabilities)})

    @routes.get("/<model:name>")
    @routes.get("/<model:name>/versions/<model:version>")
    def status(name: str, version: str | None = None) -> dict[str, Any]:
        """GetModelStatusResponse as JSON: each version that is served, or failed to be."""
        states = models.named(name).states(version)
        return {"model_version_status": [_status(number, reason) for number, reason in states.items()]}

    @routes.get("/<model:name>/metadata")
    @routes.get("/<model:name>/versions/<model:version>/metadata")
    def metadata(name: str, version: str | None = None) -> dict[str, Any]:
        """GetModelMetadataResponse as JSON."""
        predictor = models.named(name).predictor_of(version)
        card = predictor.card
        signature = {
            "inputs": {card.input.name: _tensor_info(card.input, f"{SIGNATURE}_{card.input.name}:0")},
            "outputs": {card.output.name: _tensor_info(card.output, "StatefulPartitionedCall:0")},
            "method_name": "tensorflow/serving/predict",
        }
        return {
            "model_spec": {"name": card.name, "signature_name": "", "version": str(predictor.version)},
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        }

    return routes


def _read(text: bytes, predictor: Predictor, settings: Settings, deadline: float) -> tuple[str, Images]:
    """The key that was used in the JSON `text`, and the images under it."""
    shape, fractions = predictor.card.input.shape, predictor.card.input.dtype.startswith("float")
    if (plain := plain_pixels(text, "instances", shape, settings.max_images)) is not None:
        return "instances", plain
    content = parse(text, settings.max_images, math.prod(shape))
    name = predictor.card.input.name
    keys = set(content) & {"instances", "inputs"} if isinstance(content, dict) else set()
    if len(keys) != 1:
        came = keys_of(content) if isinstance(content, dict) else brief(content)
        raise InvalidImageError(
            f'The body must be a JSON object with "instances" or "inputs", one of the two. Received: {came}.'
        )
    signature = content.get("signature_name")
    if signature not in (None, "", SIGNATURE):
        raise InvalidImageError(f"`signature_name` must be {SIGNATURE}. Received: {brief(signature)}.")
    (key,) = keys
    values = content[key]
    if key == "inputs" and isinstance(values, dict) and set(values) != {"b64"}:
        values = _named(values, name, key)
    if key == "inputs" and isinstance(values, dict):
        values = [values]
    if not isinstance(values, list) or not values:
        raise InvalidImageError(f"`{key}` must be a list of at least one image. Received: {brief(values)}.")
    check_count(len(values), settings.max_images)
    if key == "instances" and all(isinstance(value, dict) and set(value) != {"b64"} for value in values):
        values = [_named(value, name, f"instances[{index}]") for index, value in enumerate(values)]
    if all(isinstance(value, dict) for value in values):
        files = [(f"{key}[{index}]", _decode(value, f"{key}[{index}]")) for index, value in enumerate(values)]
        return key, from_files(files, shape, settings, deadline=deadline).images
    return key, from_lists(values, shape, f"{key}[{{}}]".format, fractions)


def _decode(value: dict[str, Any], place: str) -> bytes:
    """The bytes that {"b64": text} stands for."""
    text = value.get("b64")
    if len(value) != 1 or not isinstance(text, str):
        came = keys_of(value) if len(value) != 1 else f'{{"b64": {brief(text)}}}'
        raise InvalidImageError(f'`{place}` must be pixels or {{"b64": text}}. Received: {came}.')
    return from_base64(text, place)


def _named(value: dict[str, Any], name: str, place: str) -> Any:
    if set(value) != {name}:
        raise InvalidImageError(f"`{place}` must hold the input {name} and nothing else. Received: {keys_of(value)}.")
    return value[name]


def _status(version: int, failure: str | None) -> dict[str, Any]:
    error = {"error_code": "OK" if failure is None else "UNKNOWN", "error_message": failure or ""}
    return {"version": str(version), "state": "AVAILABLE" if failure is None else "END", "status": error}


def _tensor_info(spec: TensorSpec, name: str) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in (-1, *spec.shape)]
    kinds = {"float32": "DT_FLOAT", "uint8": "DT_UINT8"}
    return {
        "dtype": kinds.get(spec.dtype, f"DT_{spec.dtype.upper()}"),
        "tensor_shape": {"dim": dimensions, "unknown_rank": False},
        "name": name,
    }
