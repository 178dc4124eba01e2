"""A real server of a trained model, on LiteRT since that starts at once, and the distribution's Chromium before it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from registry.store import ModelStore
from tests.serving.conftest import Server, running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TIMEOUT = 180_000  # milliseconds
# Headless as root in a container, and without asking anybody anything.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; Debian has it as `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=TIMEOUT)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The trained sample model, served."""
    with running(artifacts / "models", log=tmp_path_factory.mktemp("site") / "log", RUNTIME="litert") as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a fresh page; at the end nothing may have been asked elsewhere, or have failed in a script."""
    contexts, faults = [], []

    def open_page(url: str, width: int = 1120, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: elsewhere(request.url, url, faults))
        page.on("console", lambda message: faults.append(message.text) if "Policy" in message.text else None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def elsewhere(asked: str, own: str, faults: list[str]) -> None:
    if not asked.startswith(("/".join(own.split("/")[:3]), "data:", "blob:")):
        faults.append(f"asked {asked}")


@pytest.fixture
def copied(artifacts: Path, tmp_path: Path) -> ModelStore:
    """A store of one's own with the trained version 1, to push into."""
    shutil.copytree(artifacts / "models", tmp_path / "models")
    (name,) = (path.name for path in (tmp_path / "models").iterdir() if not path.name.startswith("."))
    return ModelStore(tmp_path / "models", name)


@pytest.fixture
def start_quickly(
    start: Callable[..., AbstractContextManager[Server]],
) -> Callable[..., AbstractContextManager[Server]]:
    return lambda models, **settings: start(models, RUNTIME="litert", **settings)


def drop(page: Any, name: str, content: bytes) -> None:
    """Drop a file on the page, as from a folder."""
    transfer = page.evaluate_handle(
        """([name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            return transfer;
        }""",
        [name, list(content)],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


def answered(page: Any) -> str:
    """The label of the answer, once there is one."""
    page.wait_for_selector("#answer:not([hidden])")
    return str(page.text_content("#label"))
