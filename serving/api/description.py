"""What is served, in JSON: the card, the model's files, the limits, and the versions with their verdicts."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request, send_file

from registry.card import CardError
from registry.errors import RegistryError
from registry.store import ModelStore
from serving.api.pages import samples
from serving.errors import NotServedError
from serving.keys import Keys
from serving.model.assets import FOLDER
from serving.model.models import Models
from serving.settings import Settings

LIMITS = ("max_body_bytes", "max_images", "max_image_pixels")


def blueprint(models: Models, settings: Settings) -> Blueprint:
    """The routes GET /models, GET /model, GET /model/versions and GET /model/files/... over `models`.

    `?model=NAME` asks the latter three for another model than the default one.
    """
    described = Blueprint("description", __name__)
    keys_needed = Keys(settings).needed

    @described.get("/models")
    def all_models() -> dict[str, Any]:
        """The served models, the default one first, each with its version, or null while none is loaded."""
        places = {name: inference.served for name, inference in models.by_name.items()}
        versions = {name: served.predictor().version if served.ready else None for name, served in places.items()}
        return {"models": [{"name": name, "version": version} for name, version in versions.items()]}

    @described.get("/model")
    def model() -> Response:
        """The served version: its card, the names of its files, and the limits of a request."""
        inference = models.in_query(request.args)
        predictor = inference.served.predictor()
        assets = inference.assets.of(predictor)
        card = asdict(predictor.card)
        files = sorted(name.removeprefix(f"{FOLDER}/") for name in card.pop("files") if name.startswith(FOLDER))
        return _cached(
            jsonify(
                model=predictor.card.name,
                version=predictor.version,
                card=card,
                files=files,
                samples=samples(),
                preprocessing=bool(assets.look and settings.preprocess),
                keys_needed=keys_needed,
                limits={name: getattr(settings, name) for name in LIMITS},
            )
        )

    @described.get("/model/versions")
    def versions() -> Response:
        """Every version in the registry, newest first, with the gate's verdict."""
        inference = models.in_query(request.args)
        predictor = inference.served.predictor()
        store = inference.assets.of(predictor).store
        failures = inference.served.failures
        rows = [_version(store, each) for each in reversed(store.versions())]
        for row in rows:
            row["state"] = "served" if row["version"] == predictor.version else failures.get(row["version"], "")
        return _cached(jsonify(versions=rows, pinned=_pinned(store)))

    @described.get("/model/files/<path:name>")
    def file(name: str) -> Response:
        """A file in `assets.extra` of the served version, such as evaluation.json."""
        inference = models.in_query(request.args)
        path = inference.assets.of(inference.served.predictor()).file(name)
        if path is None:
            raise NotServedError(f"The file must be one of those that /model lists. Received: {name:.60}.")
        return _cached(send_file(path.resolve(), conditional=True))

    return described


def _cached(response: Response) -> Response:
    """Let a browser keep the reply, and ask each time whether it still holds."""
    response.headers["Cache-Control"] = "no-cache"
    if not response.direct_passthrough:
        response.add_etag()
        response.make_conditional(request)
    return response


def _version(store: ModelStore, version: int) -> dict[str, Any]:
    try:
        card = store.card(version)
    except (CardError, RegistryError) as error:  # damaged, or pruned meanwhile
        return {"version": version, "problem": str(error)}
    return {
        "version": version,
        "created": card.created,
        "architecture": card.config.get("model"),
        "test_accuracy": card.metrics.get("test_accuracy"),
        "verdict": card.verdict,
    }


def _pinned(store: ModelStore) -> int | None:
    try:
        return store.pinned()
    except RegistryError:
        return None  # broken, which the log says; the version served stays
