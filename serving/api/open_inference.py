"""The Open Inference Protocol v2 over HTTP, which KServe, Triton and MLServer speak.

Protocol: https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md), with
Triton's extensions binary_tensor_data and classification.
"""

import math
from importlib.metadata import version as installed
from typing import Any

import numpy as np
import orjson
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from registry.card import ModelCard
from serving.api import body
from serving.api.tensors import as_bytes, classes_of, read_images
from serving.errors import InvalidImageError, TooLargeError
from serving.images.json_text import parse
from serving.images.pixels import Images, brief
from serving.model.inference import Inference
from serving.model.served import Predictor
from serving.observe import exchange_of
from serving.settings import Settings

PROJECT = "cnn-model-service"
EXTENSIONS = ("binary_tensor_data", "classification")
HEADER = "Inference-Header-Content-Length"  # bytes of the JSON, where tensors follow it


def blueprint(inference: Inference) -> Blueprint:
    """The routes under /v2 over `inference`. Errors leave as {"error": sentence}."""
    routes = Blueprint("open_inference", __name__, url_prefix="/v2")

    @routes.get("")
    def server() -> dict[str, Any]:
        """The server's name, version and extensions."""
        return {"name": PROJECT, "version": installed(PROJECT), "extensions": EXTENSIONS}

    @routes.get("/health/live")
    def live() -> dict[str, bool]:
        """Whether the server lives."""
        # Both words at both places, since clients differ in which they read.
        return {"live": True, "ready": inference.ready}

    @routes.get("/health/ready")
    def ready() -> tuple[dict[str, bool], int]:
        """Whether it is ready, else status 503."""
        return {"live": True, "ready": inference.ready}, 200 if inference.ready else 503

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/<version>")
    def model(name: str, version: str | None = None) -> dict[str, Any]:
        """The model's inputs and outputs."""
        return _metadata(inference.predictor_of(name, version))

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str | None = None) -> dict[str, Any]:
        """Whether the model is ready, else status 503."""
        predictor = inference.predictor_of(name, version)
        inference.check_ready()
        return {"name": predictor.card.name, "ready": True}

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str | None = None) -> Response:
        """One input of images, answered with their probabilities, or with their best classes."""
        predictor = inference.predictor_of(name, version, wait=True)
        environ, settings = request.environ, inference.settings
        content, binary = _split(environ, settings, predictor.card.input.shape)
        output = _wanted_output(content, predictor.card)
        images = _images(content, binary, predictor.card, settings)
        answer = inference.run(exchange_of(environ), predictor, images)
        return _reply(content, predictor, output, answer.probabilities)

    return routes


def _split(environ: dict[str, Any], settings: Settings, shape: tuple[int, ...]) -> tuple[dict[str, Any], memoryview]:
    """The JSON at the head of the body, and the tensors behind it."""
    whole = body.read(environ, settings.max_body_bytes)
    length = len(whole)
    if (told := environ.get(f"HTTP_{HEADER.upper().replace('-', '_')}")) is not None:
        if not (told.isascii() and told.isdigit() and len(told) < 20 and int(told) <= len(whole)):
            raise InvalidImageError(f"{HEADER} must be from 0 to {len(whole)}, the whole body. Received: {told:.40}.")
        length = int(told)
    content = parse(whole[:length] if length < len(whole) else whole, settings.max_images, math.prod(shape))
    if not isinstance(content, dict):
        raise InvalidImageError(f'The body must be a JSON object with "inputs". Received: {brief(content)}.')
    content = _given(content)
    if not isinstance(parameters := content.get("parameters", {}), dict):
        raise InvalidImageError(f"`parameters` must be an object. Received: {brief(parameters)}.")
    if not isinstance(identity := content.get("id", ""), str):
        raise InvalidImageError(f"`id` must be a string. Received: {brief(identity)}.")
    return content, memoryview(whole)[length:]


def _given(members: dict[str, Any]) -> dict[str, Any]:
    """Without null, which clients that are generated from a schema send for what they leave out."""
    return {name: value for name, value in members.items() if value is not None}


def _images(content: dict[str, Any], binary: memoryview, card: ModelCard, settings: Settings) -> Images:
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidImageError(f"`inputs` must be a list of one tensor, {card.input.name}. Received: {brief(inputs)}.")
    tensor = _given(inputs[0])
    if tensor.get("name") != card.input.name:
        raise InvalidImageError(f"The input must be {card.input.name}. Received: {brief(tensor.get('name'))}.")
    # Before the pixels are looked at, since that is what takes time.
    shape = tensor.get("shape")
    if isinstance(shape, list) and shape and isinstance(shape[0], int) and shape[0] > settings.max_images:
        raise TooLargeError(f"A request may hold {settings.max_images} images. Received: {brief(shape[0])}.")
    images, used = read_images(tensor, card.input, binary)
    if used != len(binary):
        raise InvalidImageError(f"The body must end with its last tensor. Received: {len(binary) - used} bytes more.")
    return images


def _wanted_output(content: dict[str, Any], card: ModelCard) -> dict[str, Any]:
    """The parameters of the one output: {"binary_data": bool, "classification": count or 0}."""
    outputs = content.get("outputs", [])
    whole = isinstance(outputs, list) and all(isinstance(each, dict) for each in outputs)
    if not whole or [each.get("name") for each in outputs] not in ([], [card.output.name]):
        raise InvalidImageError(
            f'`outputs` must be a list of one object, {{"name": "{card.output.name}"}}. Received: {brief(outputs)}.'
        )
    asked = _given(outputs[0]).get("parameters", {}) if outputs else {}
    if not isinstance(asked, dict):
        raise InvalidImageError(f"The parameters of an output must be an object. Received: {brief(asked)}.")
    everywhere = content.get("parameters", {}).get("binary_data_output", False)
    binary, count = asked.get("binary_data", everywhere), asked.get("classification", 0)
    if type(binary) is not bool:
        raise InvalidImageError(f"`binary_data` must be true or false. Received: {brief(binary)}.")
    if type(count) is not int or count < 0:
        raise InvalidImageError(f"`classification` must be a number of classes. Received: {brief(count)}.")
    return {"binary_data": binary, "classification": min(count, len(card.classes))}


def _reply(
    content: dict[str, Any], predictor: Predictor, wanted: dict[str, Any], probabilities: NDArray[np.float32]
) -> Response:
    card, count = predictor.card, wanted["classification"]
    value = classes_of(probabilities, card.classes, count) if count else np.ascontiguousarray(probabilities)
    output: dict[str, Any] = {
        "name": card.output.name,
        "datatype": "BYTES" if count else "FP32",
        "shape": [len(probabilities), count or len(card.classes)],
    }
    head: dict[str, Any] = {"model_name": card.name, "model_version": str(predictor.version)}
    if "id" in content:
        head["id"] = content["id"]
    if not wanted["binary_data"]:
        # JSON data is flat, in row-major order, as the protocol's own examples are.
        output["data"] = [text for row in value for text in row] if isinstance(value, list) else value.ravel()
        text = orjson.dumps(head | {"outputs": [output]}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(text, mimetype="application/json")
    tensor = as_bytes(value)
    output["parameters"] = {"binary_data_size": len(tensor)}
    text = orjson.dumps(head | {"outputs": [output]})
    return Response(text + tensor, mimetype="application/octet-stream", headers={HEADER: str(len(text))})


def _metadata(predictor: Predictor) -> dict[str, Any]:
    card = predictor.card
    # FP32 is what the SavedModel takes; smaller types, UINT8 above all, are taken as well and travel faster.
    return {
        "name": card.name,
        "versions": [str(predictor.version)],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": card.input.name, "datatype": "FP32", "shape": [-1, *card.input.shape]}],
        "outputs": [{"name": card.output.name, "datatype": "FP32", "shape": [-1, *card.output.shape]}],
    }
