"""The native API: predictions with labels, and whether the service is alive and ready."""

import base64
from typing import Any

from flask import Blueprint, request

from decoding.heads import format_of
from serving.api import body
from serving.api.replies import Reply, reply
from serving.errors import InvalidImageError, UnsupportedMediaTypeError
from serving.images.files import Batch, from_files, from_json, from_raw
from serving.images.photographs import Look
from serving.model.models import Models
from serving.model.predictions import predictions
from serving.observe import exchange_of
from serving.settings import Settings

# What curl sends with -d or --data-binary when no type is given, and other clients without one.
UNDECLARED_TYPES = {"", "application/x-www-form-urlencoded"}


def blueprint(models: Models, settings: Settings) -> Blueprint:
    """The routes POST /predict, GET /healthz and GET /readyz over `models`."""
    native = Blueprint("native", __name__)

    @native.post("/predict")
    def predict() -> Reply:
        """Classify one image or many.

        The body is JSON (`images` or `image`: pixels, or an image file as a data URL), an image file (PNG, JPEG,
        GIF, BMP, WebP or TIFF, whatever its media type says), a form with such files, or raw pixels
        (`application/octet-stream`, uint8 in rows, image after image). The reply's `predictions` are in the order of
        the request (of a form: field by field). `?model=NAME` asks another model than the default one.

        Raises the errors of `serving.errors`, which `app.py` translates.
        """
        environ = request.environ  # taken once: `request` looks its request up at each use
        query = environ["QUERY_STRING"]  # parsing it takes longer than it seems
        inference = models.in_query(request.args, wait=True) if query else models.default
        predictor = inference.predictor()
        card, assets = predictor.card, inference.assets.of(predictor)
        switches = _switches(query, settings)
        look = assets.look if switches["preprocess"] else None
        batch = _read_batch(environ, card.input.shape, settings, look)
        answer = inference.run(exchange_of(environ), predictor, batch.images)
        found = predictions(batch, answer.probabilities, card.classes, assets.novelty)
        if switches["pixels"]:
            for each, image in zip(found, batch.images, strict=True):
                each["pixels"] = base64.b64encode(image.tobytes()).decode()
        return reply({"model": card.name, "version": predictor.version, "predictions": found})

    @native.get("/healthz")
    def healthz() -> dict[str, str]:
        """Alive: this process answers."""
        return {"status": "alive"}

    @native.get("/readyz")
    def readyz() -> dict[str, Any]:
        """Ready: the default model is loaded and warm; else status 503."""
        models.check_ready(models.default)
        predictor = models.default.served.predictor()
        ready = {"status": "ready", "model": predictor.card.name, "version": predictor.version}
        if any(each.served.trouble for each in models.by_name.values()):
            # It answers, but a push or a pin would not reach it.
            ready["registry"] = "The registry cannot be followed; the log says why."
        return ready

    return native


def _switches(query: str, settings: Settings) -> dict[str, bool]:
    """The switches of the query, such as `?pixels=1`: whether to treat photographs, and to return the pixels."""
    switches = {"preprocess": bool(settings.preprocess), "pixels": False}
    if query:
        for name in switches.keys() & request.args.keys():
            if (given := request.args[name]) not in ("0", "1"):
                raise InvalidImageError(f"`{name}` in the query must be 0 or 1. Received: {given:.40}.")
            switches[name] = given == "1"
    return switches


def _read_batch(environ: dict[str, Any], shape: tuple[int, ...], settings: Settings, look: Look | None) -> Batch:
    deadline = exchange_of(environ).deadline
    kind = environ.get("CONTENT_TYPE", "")
    if kind != "application/json":  # the most frequent one needs no parser
        kind = request.mimetype
    if kind == "multipart/form-data":
        return from_files(_uploads(environ), shape, settings, look, deadline)
    content = body.read(environ, settings.max_body_bytes)
    declared = kind not in UNDECLARED_TYPES
    # Clients name images as they like (image/jpg, image/*), so the bytes decide.
    if kind.startswith("image/") or (not declared and format_of(content)):
        return from_files([(None, content)], shape, settings, look, deadline)
    if kind == "application/json" or (not declared and content.lstrip().startswith(b"{")):
        return from_json(content, shape, settings, look, deadline)
    if kind == "application/octet-stream":
        return from_raw(content, shape, settings)
    raise UnsupportedMediaTypeError(
        f"The body must be application/json, image/*, multipart/form-data or application/octet-stream. "
        f"Received: {kind or 'no Content-Type'}."
    )


def _uploads(environ: dict[str, Any]) -> list[tuple[str | None, bytes]]:
    """Name and content of each file in the form; within a field they keep the order of the request.

    Text fields, such as a token of a web framework, are ignored.
    """
    coding = environ.get("HTTP_CONTENT_ENCODING", "identity")
    if coding.lower() != "identity":
        raise UnsupportedMediaTypeError(f"A form must not be compressed. Received: Content-Encoding {coding:.40}.")
    try:
        fields, uploads = request.form, request.files
    except ValueError as error:
        raise InvalidImageError(f"The form must be whole multipart/form-data. Received: {error}.") from None
    if not uploads:
        # A part may come without a name; Werkzeug then calls it None, whatever its types say.
        came = f"only the text field {str(next(iter(fields)))[:40]}" if fields else "none"
        raise InvalidImageError(f"The form must hold at least one file. Received: {came}.")
    return [(file.filename, file.read()) for _, file in uploads.items(multi=True)]
