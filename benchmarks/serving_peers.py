"""The service's peers in Flask and FastAPI: what one writes in an afternoon over the same SavedModel.

Each answers POST /predict with {"probabilities": [[...], ...]} for a body of {"images": [...]}, image/png, or raw
bytes, with one signature call per request. VERSION is the directory of the version.
"""

import io
import os
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

_MODEL = tf.saved_model.load(os.environ["VERSION"])
_SIGNATURE = _MODEL.signatures["serving_default"]


def _answer(images: Any) -> dict[str, Any]:
    pixels = np.asarray(images, np.float32).reshape(-1, 28, 28, 1)
    return {"probabilities": _SIGNATURE(images=tf.constant(pixels))["probabilities"].numpy().tolist()}


def _decode(kind: str, body: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(body))) if kind == "image/png" else np.frombuffer(body, np.uint8)


def flask_app() -> Any:
    """For gunicorn: `benchmarks.serving_peers:flask_app()`."""
    from flask import Flask, request

    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        if request.mimetype == "application/json":
            return _answer(request.get_json()["images"])
        return _answer(_decode(request.mimetype, request.get_data()))

    return app


def fastapi_app() -> Any:
    """For uvicorn: `--factory benchmarks.serving_peers:fastapi_app`."""
    from fastapi import FastAPI, Request
    from fastapi.concurrency import run_in_threadpool

    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        kind = request.headers["content-type"]
        if kind == "application/json":
            return await run_in_threadpool(_answer, (await request.json())["images"])
        body = await request.body()
        return await run_in_threadpool(lambda: _answer(_decode(kind, body)))

    return app
