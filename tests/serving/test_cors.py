"""Pages of other sites: none may read a reply unless CORS_ORIGINS allows its site, and then refusals and errors too."""

import hashlib
from typing import Any

import pytest

from serving.model.served import Served
from serving.settings import Settings, SettingsError
from tests.serving.bridged import BridgeClient, bridged

SITE = "https://shop.example"
OTHER = "https://other.example:8443"
PIXELS = {"data": bytes([5]) * 784, "content_type": "application/octet-stream"}
ORIGIN = "Access-Control-Allow-Origin"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-api-key",
}


def client_of(predictor: Any, **changes: Any) -> BridgeClient:
    return bridged(Served(predictor), Settings(**changes))


def test_without_the_setting_no_site_is_named(client: BridgeClient) -> None:
    for reply in (
        client.post("/predict", headers={"Origin": SITE}, **PIXELS),
        client.options("/predict", headers={"Origin": SITE} | PREFLIGHT),
    ):
        assert not [name for name, _ in reply.headers if name.startswith("Access-Control") or name == "Vary"]


@pytest.mark.parametrize("origin", [SITE, OTHER])
def test_pages_of_the_sites_that_are_allowed_may_read_every_reply(predictor: Any, origin: str) -> None:
    client = client_of(predictor, cors_origins=f"{SITE.upper()}, {OTHER}")
    replies = [
        client.post("/predict", headers={"Origin": origin}, **PIXELS),
        client.post("/predict", headers={"Origin": origin}, data="x"),
        client.get("/nowhere", headers={"Origin": origin}),
    ]
    assert [reply.status_code for reply in replies] == [200, 415, 404]
    for reply in replies:
        assert (reply.headers[ORIGIN], reply.headers["Vary"]) == (origin, "Origin")
        assert "X-Request-ID" in reply.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("origin", [None, "null", "https://shop.example.evil.example", "http://shop.example"])
def test_pages_of_other_sites_may_not(predictor: Any, origin: str | None) -> None:
    client = client_of(predictor, cors_origins=SITE)
    headers = {"Origin": origin} if origin else {}
    for reply in (client.get("/readyz", headers=headers), client.options("/predict", headers=headers | PREFLIGHT)):
        assert ORIGIN not in reply.headers
        assert reply.headers["Vary"] == "Origin"  # or a cache would give it to pages that may


def test_a_star_allows_every_site(predictor: Any) -> None:
    reply = client_of(predictor, cors_origins="*").get("/readyz", headers={"Origin": OTHER})
    assert reply.headers[ORIGIN] == "*"
    assert "Access-Control-Allow-Credentials" not in reply.headers


def test_a_browser_may_ask_without_a_key_and_then_predicts_with_one(predictor: Any) -> None:
    client = client_of(predictor, cors_origins=SITE, api_keys=hashlib.sha256(b"key").hexdigest())
    asked = client.options("/predict", headers={"Origin": SITE} | PREFLIGHT)
    assert (asked.status_code, asked.data) == (204, b"")
    assert asked.headers[ORIGIN] == SITE
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    allowed = asked.headers["Access-Control-Allow-Headers"].split(",")
    assert set(PREFLIGHT["Access-Control-Request-Headers"].split(",")) <= set(allowed)
    assert client.post("/predict", headers={"Origin": SITE, "X-API-Key": "key"}, **PIXELS).status_code == 200
    refused = client.post("/predict", headers={"Origin": SITE}, **PIXELS)
    assert (refused.status_code, refused.headers[ORIGIN]) == (401, SITE)


@pytest.mark.parametrize("given", ["shop.example", "https://shop.example/", "https://shop.example/path", "https://"])
def test_what_no_browser_would_send_is_refused_at_the_start(given: str) -> None:
    with pytest.raises(SettingsError, match=r"^CORS_ORIGINS must be \*, or origins such as"):
        Settings(cors_origins=f"{SITE},{given}")
