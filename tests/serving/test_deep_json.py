"""A member that is nested as deeply as JSON may be is the client's mistake, wherever it stands in a request."""

import json
from typing import Any

import pytest

from tests.serving.bridged import BridgeClient

DEPTH = 1000  # of at most 1,024 that the parser takes
V1, V2 = "/v1/models/fashion_mnist:predict", "/v2/models/fashion_mnist/infer"
TENSOR = {"name": "images", "shape": [1, 28, 28, 1], "datatype": "UINT8", "data": [0] * 784}
INFER = {"inputs": [TENSOR]}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    *(("/predict", {name: None}) for name in ("image", "images", "other")),
    *((V1, {name: None}) for name in ("instances", "inputs")),
    (V1, {"instances": [[0] * 784], "signature_name": None}),
    *((V2, INFER | {name: None}) for name in ("id", "parameters", "inputs", "outputs")),
    *((V2, {"inputs": [TENSOR | {name: None}]}) for name in (*TENSOR, "parameters")),
    (V2, {"inputs": [TENSOR | {"shape": [1, None]}]}),
    (V2, {"inputs": [TENSOR | {"parameters": {"binary_data_size": None}}]}),
    *(
        (V2, INFER | {"outputs": [{"name": "probabilities", "parameters": {name: None}}]})
        for name in ("binary_data", "classification")
    ),
    (V2, INFER | {"outputs": [{"name": None}]}),
    (V2, INFER | {"parameters": {"binary_data_output": None}}),
]


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
@pytest.mark.parametrize(
    ("path", "document"), REQUESTS, ids=[f"{path} {json.dumps(document)[-60:]}" for path, document in REQUESTS]
)
def test_a_member_nested_very_deeply_is_refused_with_400(
    client: BridgeClient, path: str, document: dict[str, Any], begin: str, end: str
) -> None:
    body = json.dumps(document).replace("null", f"{begin * DEPTH}1{end * DEPTH}")
    reply = client.post(path, data=body, content_type="application/json")
    if '"parameters": null' in json.dumps(document) and begin != "[":
        assert reply.status_code == 200, reply.text  # any object will do
        return
    assert reply.status_code == 400, reply.text
    assert "Received: " in (reply.json.get("error") or reply.json["detail"])
