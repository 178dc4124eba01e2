"""Before a version is served, it must answer one whole request of each protocol."""

import base64
import io
import json
import math
from collections.abc import Iterator
from urllib.parse import quote

from PIL import Image

from registry.card import ModelCard
from serving.app import create_app
from serving.model.assets import Assets
from serving.model.models import Models
from serving.model.served import ModelError, Predictor, Served
from serving.observe import ENVIRON_KEY, Exchange
from serving.settings import Settings

Asked = tuple[str, bytes, dict[str, str]]  # path, body and headers


def try_out(predictor: Predictor, settings: Settings) -> None:
    """Let `predictor` answer as it will answer clients, up to the text of the reply.

    Raises:
        CardError: the card describes impossible training images.
        ModelError: a reply is no prediction; the log then has the traceback.
    """
    # The limits are for clients: no key, and as much time and as large a body as the model needs.
    limitless = Settings(models=settings.model_root, max_body_bytes=2**31 - 1, deadline_ms=10**7)
    Assets(predictor, limitless)
    client = create_app(Models(limitless, Served(predictor)), limitless).test_client()
    for path, body, headers in _requests(predictor.card):
        exchange = Exchange("POST", path, "", 0.0)
        reply = client.post(path, data=body, headers=headers, environ_overrides={ENVIRON_KEY: exchange})
        if reply.status_code != 200:
            raise ModelError(f"POST {path} must be answered with 200. Received: {reply.status_code}, {reply.text:.300}")
    if len(set(predictor.card.classes)) != len(predictor.card.classes):
        raise ModelError(f"The names of the classes must differ. Received: {', '.join(predictor.card.classes):.300}.")


def _requests(card: ModelCard) -> Iterator[Asked]:
    """One request of each protocol that exercises most code: a photograph, and every class by its name."""
    picture, name = _photograph(card), quote(card.name, safe="")
    yield "/predict", picture, {"Content-Type": "image/png"}
    instances = {"instances": [{"b64": base64.b64encode(picture).decode()}]}
    yield f"/v1/models/{name}:predict", json.dumps(instances).encode(), {"Content-Type": "application/json"}
    size = math.prod(card.input.shape)
    tensor = {"name": card.input.name, "shape": [1, *card.input.shape], "datatype": "UINT8"}
    output = {"name": card.output.name, "parameters": {"classification": len(card.classes)}}
    inputs = [tensor | {"parameters": {"binary_data_size": size}}]
    head = json.dumps({"inputs": inputs, "outputs": [output]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    yield f"/v2/models/{name}/infer", head + bytes(size), {"Content-Type": "application/octet-stream"} | length


def _photograph(card: ModelCard) -> bytes:
    """A PNG of a dark square on white, in another size than the model's."""
    side = 40 + (card.input.shape[:2] == (40, 40))
    picture = Image.new("L", (side, side), "white")
    picture.paste(50, (10, 12, side - 10, side - 12))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
