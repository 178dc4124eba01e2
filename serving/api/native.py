"""The native face: predictions with labels, and whether the service is alive and ready."""

import base64
from typing import Any

import numpy as np
from flask import Blueprint, request
from numpy.typing import NDArray

from serving.api import body, schemas
from serving.api.openapi import operation
from serving.errors import InvalidImageError, UnsupportedMediaTypeError
from serving.images.files import Batch, Source, from_files, from_json, from_raw
from serving.images.heads import is_image
from serving.images.photographs import Look
from serving.model.assets import ExtrasOfNow
from serving.model.inference import Inference
from serving.settings import Settings

# What curl sends with -d or --data-binary when it is not told a type, and other clients without one.
UNTOLD_TYPES = {"", "application/x-www-form-urlencoded"}
TOP = 3


def blueprint(inference: Inference, extras: ExtrasOfNow) -> Blueprint:
    """The routes POST /predict, GET /healthz and GET /readyz over `inference`."""
    native = Blueprint("native", __name__)

    @native.post("/predict")
    @operation(
        "Predictions",
        schemas.PREDICT,
        (
            schemas.switch("preprocess", "0 leaves pictures on a light background as they are.", 1),
            schemas.switch("pixels", "1 adds what the model saw.", 0),
        ),
    )
    def predict() -> dict[str, Any]:
        """Classify one image or many.

        Raises the errors of `serving.errors` for `app.py` to translate.

        The body is JSON (`images` or `image`: pixels, or an image file as a data URL), an image file (PNG, JPEG,
        GIF, BMP, WebP or TIFF, whatever its media type says), a form with such files, or raw pixels
        (`application/octet-stream`, uint8 in rows, image after image). The reply's `predictions` are in the order of
        the request (of a form: field by field), their probabilities rounded to six
        places.
        """
        predictor = inference.predictor()
        card = predictor.card
        beside = extras.of(predictor)
        batch = _read_batch(card.input.shape, inference.settings, beside.look)
        predictions = _predictions(inference.run(predictor, batch.images).probabilities, card.classes, batch.sources)
        if beside.familiar:
            for each, score in zip(predictions, beside.familiar.scores(batch.images), strict=True):
                each |= {"in_distribution": score <= 1, "distribution_score": score}
        for each, image in zip(predictions, batch.images, strict=True):
            if _blank(image.tobytes()):
                each["note"] = "Every pixel has the same shade: there is nothing to see on it."
        if _asked("pixels", default=False):
            for each, image in zip(predictions, batch.images, strict=True):
                each["pixels"] = base64.b64encode(image.tobytes()).decode()
        return {"model": card.name, "version": predictor.version, "predictions": predictions}

    @native.get("/healthz")
    @operation("Object")
    def healthz() -> dict[str, str]:
        """Alive: this process answers."""
        return {"status": "alive"}

    @native.get("/readyz")
    @operation("Object")
    def readyz() -> dict[str, Any]:
        """Ready: a model is loaded and warm; else status 503."""
        predictor = inference.served.predictor()
        inference.check_ready()
        ready = {"status": "ready", "model": predictor.card.name, "version": predictor.version}
        if inference.served.trouble:
            # It answers, but a push or a pin would not reach it.
            ready["registry"] = "The registry cannot be followed; the log says why."
        return ready

    return native


def _asked(name: str, default: bool) -> bool:
    """A switch in the query: `?name=1` or `?name=0`."""
    if not request.query_string:  # parsing it takes longer than it seems
        return default
    given = request.args.get(name, str(int(default)))
    if given not in ("0", "1"):
        raise InvalidImageError(f"`{name}` in the query must be 0 or 1. Received: {given:.40}.")
    return given == "1"


def _read_batch(shape: tuple[int, ...], settings: Settings, look: Look | None) -> Batch:
    kind = request.mimetype
    if not _asked("preprocess", default=bool(settings.preprocess)):
        look = None
    if kind == "multipart/form-data":
        body.refuse_coding()
        return from_files(_uploads(), shape, settings, look)
    content = body.read()
    told = kind not in UNTOLD_TYPES
    # Clients name images as they like (image/jpg, image/*), so the bytes decide.
    if kind.startswith("image/") or (not told and is_image(content)):
        return from_files([(None, content)], shape, settings, look)
    if kind == "application/json" or (not told and content.lstrip().startswith(b"{")):
        return from_json(content, shape, settings, look)
    if kind == "application/octet-stream":
        return from_raw(content, shape, settings)
    raise UnsupportedMediaTypeError(
        f"The body must be application/json, image/*, multipart/form-data or application/octet-stream. "
        f"Received: {kind or 'no Content-Type'}."
    )


def _uploads() -> list[tuple[str | None, bytes]]:
    """Name and content of each file in the form; within a field they keep the order of the request.

    Fields of text beside them, such as a token of a web framework, are ignored.
    """
    fields, uploads = body.form()
    files = [(file.filename, file.read()) for _, file in uploads.items(multi=True)]
    if not files:
        # A part may come without a name; Werkzeug then calls it None, whatever its types say.
        came = f"only the text field {str(next(iter(fields)))[:40]}" if fields else "none"
        raise InvalidImageError(f"The form must hold at least one file. Received: {came}.")
    return files


def _blank(pixels: bytes) -> bool:
    return pixels.count(pixels[:1]) == len(pixels)


def _predictions(
    probabilities: NDArray[np.float32], classes: tuple[str, ...], sources: tuple[Source, ...]
) -> list[dict[str, Any]]:
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP].tolist()
    rounded = np.round(probabilities.astype(np.float64), 6).tolist()
    return [_prediction(*each, classes) for each in zip(rounded, best, sources, strict=True)]


def _prediction(
    probabilities: list[float], best: list[int], source: Source, classes: tuple[str, ...]
) -> dict[str, Any]:
    notes = {"file": source.file, "converted": source.converted, "preprocessing": source.preprocessing}
    return {
        "label": classes[best[0]],
        "index": best[0],
        "probability": probabilities[best[0]],
        "top": [{"label": classes[index], "probability": probabilities[index]} for index in best],
        "probabilities": dict(zip(classes, probabilities, strict=True)),
        **{key: note for key, note in notes.items() if note},
    }
