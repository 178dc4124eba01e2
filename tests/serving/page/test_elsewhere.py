"""The service as a browser meets it behind a proxy that strips a path, and from the page of another site."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.serving.conftest import CLASSES
from tests.serving.page.conftest import answered

pytestmark = pytest.mark.slow  # starts several servers or a browser

TIMEOUT = 300
PREFIX = "/models/clothes"
# Of the other site's page: what a prediction says, or how the browser refused it.
ASK = """async ([url, key]) => {
  const headers = { "Content-Type": "application/octet-stream", "X-API-Key": key };
  try {
    const reply = await fetch(url, { method: "POST", headers, body: new Uint8Array(784).fill(5) });
    return [reply.status, reply.headers.get("X-Request-ID").length, Object.keys(await reply.json())];
  } catch (error) {
    return error.name;
  }
}"""


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def stripping(url: str) -> type[BaseHTTPRequestHandler]:
    """A proxy that shows the service at `url` under PREFIX, and knows nothing else."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            target = url + self.path.removeprefix(PREFIX)
            reply = requests.request(self.command, target, data=body, headers=dict(self.headers), timeout=TIMEOUT)
            self.send_response(reply.status_code)
            for name in ("Content-Type", "Content-Security-Policy"):
                self.send_header(name, reply.headers.get(name, ""))
            self.end_headers()
            self.wfile.write(reply.content)

        do_POST = do_GET  # noqa: N815  # the library's name

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    return Proxy


class Shop(BaseHTTPRequestHandler):
    """Another site, with an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Shop</title>")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_the_docs_work_behind_a_proxy_that_strips_a_path(visit: Callable[..., Any], site: Any) -> None:
    with listening(stripping(site.url)) as url:
        page = visit(f"{url}{PREFIX}/docs")
        page.locator("#operations-Predict_and_health-get_readyz").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.locator(".live-responses-table").wait_for()
        assert page.locator(".request-url").inner_text().endswith(f"{url}{PREFIX}/readyz")
        assert page.locator(".live-responses-table .response-col_status").nth(1).inner_text() == "200"


def test_the_page_works_behind_a_proxy_that_strips_a_path(visit: Callable[..., Any], site: Any) -> None:
    with listening(stripping(site.url)) as url:
        page = visit(f"{url}{PREFIX}/")
        page.click("#samples button[title='Ankle boot']")
        assert answered(page) in CLASSES


@pytest.mark.parametrize("allowed", [True, False])
def test_a_page_of_another_site_predicts_with_a_key_where_it_is_allowed(
    chromium: Any, artifacts: Path, start: Callable[..., AbstractContextManager[Any]], allowed: bool
) -> None:
    with listening(Shop) as shop:
        keys = hashlib.sha256(b"key").hexdigest()
        origins = shop if allowed else "https://shop.example"
        with start(artifacts / "models", RUNTIME="litert", API_KEYS=keys, CORS_ORIGINS=origins) as server:
            server.wait_until_ready()
            context = chromium.new_context()
            context.set_default_timeout(1000 * TIMEOUT)
            page = context.new_page()
            page.goto(shop)
            good, wrong = (page.evaluate(ASK, [f"{server.url}/predict", key]) for key in ("key", "wrong"))
            context.close()
    if allowed:
        assert good == [200, 32, ["model", "version", "predictions"]]
        assert wrong == [401, 32, ["type", "title", "status", "detail"]]
    else:
        assert good == wrong == "TypeError"
