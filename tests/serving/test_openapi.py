"""The description covers every route, is valid OpenAPI 3.1, and can be tried out without asking anybody else."""

from typing import Any

import pytest
from openapi_spec_validator import validate

from serving.api.pages import path
from tests.serving.bridged import BridgeClient


@pytest.fixture
def description(client: BridgeClient) -> dict[str, Any]:
    return dict(client.get("/openapi.json").json)


def test_it_is_valid_openapi_of_version_3_1(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1.")
    validate(description)


def test_every_route_for_programs_is_in_it_with_a_summary(client: BridgeClient, description: dict[str, Any]) -> None:
    rules = [*client.flask.url_map.iter_rules()]
    programs = {path(rule) for rule in rules if not rule.endpoint.startswith("pages.")} | {"/metrics"}
    assert programs == set(description["paths"])
    for operations in description["paths"].values():
        for operation in operations.values():
            assert operation["summary"]


def test_a_real_reply_has_the_fields_that_it_names(
    client: BridgeClient, description: dict[str, Any], image: Any
) -> None:
    schemas = description["components"]["schemas"]
    reply = client.post("/predict", json={"image": image.tolist()}).json
    assert set(schemas["Predictions"]["required"]) == set(reply)
    prediction = set(reply["predictions"][0])
    assert set(schemas["Prediction"]["required"]) <= prediction <= set(schemas["Prediction"]["properties"])
    problem = client.post("/predict", json={}).json
    assert set(problem) == set(schemas["Problem"]["required"])


def test_a_binary_reply_is_of_a_media_type_that_it_names(client: BridgeClient, description: dict[str, Any]) -> None:
    (infer,) = (item["post"] for path, item in description["paths"].items() if path.endswith("{name}/infer"))
    tensor = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    body = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    reply = client.post("/v2/models/fashion_mnist/infer", json=body)
    assert reply.status_code == 200
    assert reply.mimetype != "application/json"
    assert reply.mimetype in infer["responses"]["200"]["content"]


def test_posts_name_the_keys_that_they_may_need(description: dict[str, Any]) -> None:
    assert {"bearer": []} in description["paths"]["/predict"]["post"]["security"]
    assert "security" not in description["paths"]["/readyz"]["get"]


def test_swagger_ui_comes_from_local_files_alone(client: BridgeClient) -> None:
    page = client.get("/docs", buffered=True)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text
    assert len(client.get("/docs/swagger-ui-bundle.js", buffered=True).data) > 10**6
    assert client.get("/docs/index.html").status_code == 404
