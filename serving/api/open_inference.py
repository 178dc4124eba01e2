"""The Open Inference Protocol v2 over HTTP, which KServe, Triton and MLServer speak.

Protocol: https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md), with
Triton's extensions binary_tensor_data and classification.
"""

import math
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import orjson
from flask import Blueprint, request
from numpy.typing import NDArray

from registry.card import ModelCard
from serving.api import body
from serving.api.replies import Reply, reply
from serving.api.tensors import as_bytes, classes_of, member, read_images
from serving.errors import InvalidImageError
from serving.images.json_body import parse
from serving.images.pixels import brief
from serving.model.models import Models
from serving.model.served import Predictor
from serving.observe import exchange_of
from serving.settings import Settings

PROJECT = "cnn-model-service"
EXTENSIONS = ("binary_tensor_data", "classification")
HEADER = "Inference-Header-Content-Length"  # bytes of the JSON, where tensors follow it
# By the runtime: the protocol has `<project>_<format>`, and lists no name for TFLite's format.
PLATFORMS = {"tensorflow": "tensorflow_savedmodel", "litert": "litert_tflite"}


def blueprint(models: Models, settings: Settings) -> Blueprint:
    """The routes under /v2 over `models`. Errors leave as {"error": sentence}."""
    routes = Blueprint("open_inference", __name__, url_prefix="/v2")

    @routes.get("")
    def server() -> dict[str, Any]:
        """The server's name, version and extensions."""
        return {"name": PROJECT, "version": installed(PROJECT), "extensions": EXTENSIONS}

    @routes.get("/health/live")
    def live() -> dict[str, bool]:
        """Whether the server lives."""
        # Both words at both places, since clients differ in which they read.
        return {"live": True, "ready": models.ready}

    @routes.get("/health/ready")
    def ready() -> tuple[dict[str, bool], int]:
        """Whether the default model is ready, else status 503."""
        return {"live": True, "ready": models.ready}, 200 if models.ready else 503

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/<version>")
    def model(name: str, version: str | None = None) -> dict[str, Any]:
        """The model's inputs and outputs."""
        return _metadata(models.named(name).predictor_of(version), PLATFORMS[settings.runtime])

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> dict[str, Any]:
        """Whether the model is ready, else status 503."""
        inference = models.named(name)
        predictor = inference.predictor_of(version)
        models.check_ready(inference)
        return {"name": predictor.card.name, "ready": True}

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Reply:
        """One input of images, answered with their probabilities, or with their best classes."""
        inference = models.named(name, wait=True)
        predictor = inference.predictor_of(version, wait=True)
        environ = request.environ
        content, binary = _split(environ, settings, predictor.card.input.shape)
        card = predictor.card
        output = _wanted_output(content, card)
        images = read_images(_input(content, card), card.input, binary, settings.max_images)
        answer = inference.run(exchange_of(environ), predictor, images)
        return _reply(content.get("id"), predictor, answer.probabilities, *output)

    return routes


def _split(environ: dict[str, Any], settings: Settings, shape: tuple[int, ...]) -> tuple[dict[str, Any], memoryview]:
    """The JSON at the head of the body, and the tensors behind it."""
    whole = body.read(environ, settings.max_body_bytes)
    length = len(whole)
    if (given := environ.get(f"HTTP_{HEADER.upper().replace('-', '_')}")) is not None:
        if not (given.isascii() and given.isdigit() and len(given) < 20 and int(given) <= len(whole)):
            raise InvalidImageError(f"{HEADER} must be from 0 to {len(whole)}, the whole body. Received: {given:.40}.")
        length = int(given)
    content = parse(whole[:length] if length < len(whole) else whole, settings.max_images, math.prod(shape))
    if not isinstance(content, dict):
        raise InvalidImageError(f'The body must be a JSON object with "inputs". Received: {brief(content)}.')
    member(content, "id", str, "", "`id` must be a string")
    return content, memoryview(whole)[length:]


def _input(content: dict[str, Any], card: ModelCard) -> dict[str, Any]:
    """The one tensor of the request."""
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidImageError(f"`inputs` must be a list of one tensor, {card.input.name}. Received: {brief(inputs)}.")
    if (name := inputs[0].get("name")) != card.input.name:
        raise InvalidImageError(f"The input must be {card.input.name}. Received: {brief(name)}.")
    tensor: dict[str, Any] = inputs[0]
    return tensor


def _wanted_output(content: dict[str, Any], card: ModelCard) -> tuple[bool, int]:
    """Whether the one output shall be binary, and how many of the best classes it shall hold; 0 for probabilities."""
    expected = f'`outputs` must be a list of one object, {{"name": "{card.output.name}"}}'
    outputs = member(content, "outputs", list, [], expected)
    names = [each.get("name") if isinstance(each, dict) else None for each in outputs]
    if names not in ([], [card.output.name]):
        raise InvalidImageError(f"{expected}. Received: {brief(outputs)}.")
    wanted = outputs[0] if outputs else {}
    asked = member(wanted, "parameters", dict, {}, "The parameters of an output must be an object")
    parameters = member(content, "parameters", dict, {}, "`parameters` must be an object")
    everywhere = member(parameters, "binary_data_output", bool, False, "`binary_data_output` must be true or false")
    binary = member(asked, "binary_data", bool, everywhere, "`binary_data` must be true or false")
    count = member(asked, "classification", int, 0, "`classification` must be a number of classes")
    return binary, min(count, len(card.classes))


def _reply(
    identity: str | None, predictor: Predictor, probabilities: NDArray[np.float32], binary: bool, count: int
) -> Reply:
    card = predictor.card
    value = classes_of(probabilities, card.classes, count) if count else np.ascontiguousarray(probabilities)
    output: dict[str, Any] = {
        "name": card.output.name,
        "datatype": "BYTES" if count else "FP32",
        "shape": [len(probabilities), count or len(card.classes)],
    }
    head: dict[str, Any] = {"model_name": card.name, "model_version": str(predictor.version)}
    if identity is not None:
        head["id"] = identity
    if not binary:
        # JSON data is flat, in row-major order, as the protocol's own examples are.
        output["data"] = [text for row in value for text in row] if isinstance(value, list) else value.ravel()
        return reply(head | {"outputs": [output]})
    tensor = as_bytes(value)
    output["parameters"] = {"binary_data_size": len(tensor)}
    text = orjson.dumps(head | {"outputs": [output]})
    return Reply(text + tensor, "application/octet-stream", [(HEADER, str(len(text)))])


def _metadata(predictor: Predictor, platform: str) -> dict[str, Any]:
    card = predictor.card
    # FP32 is what the model takes; smaller types, UINT8 above all, are taken as well and travel faster.
    return {
        "name": card.name,
        "versions": [str(predictor.version)],
        "platform": platform,
        "inputs": [{"name": card.input.name, "datatype": "FP32", "shape": [-1, *card.input.shape]}],
        "outputs": [{"name": card.output.name, "datatype": "FP32", "shape": [-1, *card.output.shape]}],
    }
