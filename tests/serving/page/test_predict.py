"""The tab Predict in a real browser: images in, answers out, errors where they happen, while versions change."""

import hashlib
import io
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from registry.store import ModelStore
from serving.api.pages import SAMPLES, STATIC
from tests.serving.conftest import CLASSES
from tests.serving.page.conftest import answered, drop
from tests.serving.photographs import photograph

pytestmark = pytest.mark.slow  # starts several servers or a browser

BOOT = SAMPLES / "ankle-boot.png"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def bomb() -> bytes:
    """A PNG whose header promises 100 megapixels."""
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)), (b"IDAT", b"no pixels")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return content


def label_of(site: Any, content: bytes) -> str:
    """What the service calls an image file when it is asked without the page."""
    reply = requests.post(f"{site.url}/predict", files={"image": ("image", content)}, timeout=300).json()
    return str(reply["predictions"][0]["label"])


def test_the_page_s_own_files_are_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 150_000


def test_a_sample_is_answered_with_bars_words_and_what_the_model_saw(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.click("#samples button[title='Ankle boot']")
    assert answered(page) in CLASSES
    assert page.locator("#bars tbody tr").count() == 10
    assert page.text_content("#bars tbody tr.best th") == page.text_content("#label")
    assert "of a hundred such answers" in page.text_content("#words")
    assert page.text_content("#facts").startswith("fashion_mnist_sample version 1, answered in ")
    boot = np.asarray(Image.open(BOOT)).ravel().tolist()
    seen = "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 28, 28).data.filter((_, i) => i % 4 === 0))"
    assert page.eval_on_selector("#seen", seen) == boot


def test_a_dropped_photograph_is_answered_and_what_was_done_to_it_is_said(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    content = photograph(np.asarray(Image.open(BOOT)), seed=0)
    drop(page, "my boot.jpg", content)
    assert answered(page) == label_of(site, content)
    assert "longest side to 28" in page.text_content("#seen-caption")
    assert page.text_content("#curl") == f"curl -F 'image=@\"my boot.jpg\"' {site.url}/predict"
    assert 'open("my boot.jpg", "rb")' in page.text_content("#python")


def test_the_commands_on_the_page_classify_the_sample_as_they_stand(
    site: Any, visit: Callable[..., Any], tmp_path: Path
) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    assert "/page/samples/ankle-boot.png" in page.text_content("#curl")  # the first sample, until one is chosen
    page.click("#samples button[title='Trouser']")
    label = answered(page)
    for command in (["sh", "-ec", page.text_content("#curl")], [sys.executable, "-c", page.text_content("#python")]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert label in done.stdout
    assert (tmp_path / "trouser.png").read_bytes() == (SAMPLES / "trouser.png").read_bytes()


def test_a_chosen_and_a_pasted_file_are_answered(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.set_input_files("#choose", BOOT)
    answered(page)
    page.evaluate(
        """bytes => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(bytes)], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData}));
        }""",
        list((SAMPLES / "trouser.png").read_bytes()),
    )
    page.wait_for_selector("#curl:has-text('pasted.png')", state="attached")
    page.wait_for_selector(f"#label:text-is('{label_of(site, (SAMPLES / 'trouser.png').read_bytes())}')")


def test_a_drawing_is_answered_stroke_by_stroke(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 180, steps=12)
    page.mouse.up()
    assert answered(page) in CLASSES
    with page.expect_download() as download:
        page.click("#save")
    assert np.asarray(Image.open(download.value.path()).convert("L")).max() > 200
    page.click("#clear")
    page.click("#classify")
    assert page.text_content("#problem") == "The drawing is empty: draw something first."


def test_what_mattered_is_computed_in_one_request(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.click("#samples button[title='Trouser']")
    answered(page)
    asked = []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
    page.click("#occlude")
    page.wait_for_selector("#occlude[aria-pressed='true']:not([disabled])")
    (request,) = asked
    assert len(request.post_data_buffer) == (1 + 13 * 13) * 784
    assert "over" in page.text_content("#heat-words")
    page.click("#occlude")
    assert page.text_content("#heat-words") == ""


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("shoe.png", b"hello", 'WebP or TIFF image. Received: 5 bytes of text that begins with "hello".'),
        ("bomb.png", bomb(), "bomb.png must have at most 16777216 pixels. Received: 10000x10000"),
        ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "Received: 41 bytes of SVG."),
        ("paper.png", encoded(Image.new("RGB", (90, 90), "white"), "PNG"), "paper.png must show something."),
    ],
)
def test_what_cannot_be_read_is_said_beside_the_input(
    site: Any, visit: Callable[..., Any], name: str, content: bytes, sentence: str
) -> None:
    page = visit(site.url)
    page.click("#samples button[title='Bag']")
    answered(page)
    drop(page, name, content)
    page.wait_for_selector("#problem:not(:empty)")
    assert sentence in page.text_content("#problem")
    assert page.is_hidden("#answer")  # it was about the bag


def test_a_changed_tick_asks_about_the_same_photograph_again(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    drop(page, "boot.jpg", photograph(np.asarray(Image.open(BOOT)), seed=0))
    answered(page)
    assert "longest side to 28" in page.text_content("#seen-caption")
    page.uncheck("#preprocess")
    page.wait_for_selector("#seen-caption:not(:has-text('longest side to 28'))")
    page.check("#preprocess")
    page.wait_for_selector("#seen-caption:has-text('longest side to 28')")


def test_a_cmyk_and_a_turned_photograph_are_taken(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    photo = Image.open(io.BytesIO(photograph(np.asarray(Image.open(BOOT)), seed=0)))
    cmyk = encoded(photo.convert("CMYK"), "JPEG", quality=90)
    drop(page, "cmyk.jpg", cmyk)
    assert answered(page) == label_of(site, cmyk)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(photo.rotate(90, expand=True), "JPEG", exif=exif, quality=90)
    drop(page, "phone.jpg", turned)
    page.wait_for_selector("#seen-caption:has-text('turned upright')")
    assert page.text_content("#label") == label_of(site, turned)


def test_an_out_of_distribution_image_carries_a_warning(site: Any, visit: Callable[..., Any]) -> None:
    page = visit(site.url)
    page.wait_for_selector("#samples button")
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)
    drop(page, "noise.png", encoded(Image.fromarray(noise), "PNG"))
    answered(page)
    assert "looks unlike the training images" in page.text_content("#warning")
    assert "such answers" not in page.text_content("#words")  # that holds for images like the test images


def test_while_versions_change_the_page_goes_on(
    copied: ModelStore, start_quickly: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path
) -> None:
    with start_quickly(copied.root) as server:
        server.wait_until_ready()
        page = visit(server.url)
        page.click("#samples button[title='Bag']")
        answered(page)
        shutil.copytree(copied.path(1), tmp_path / "second")
        (tmp_path / "second").rename(copied.path(2))
        page.wait_for_selector("#status:has-text('version 2 (')")
        page.click("#samples button[title='Bag']")
        page.wait_for_selector("#facts:has-text('version 2')")
        server.process.terminate()
        server.process.wait(300)
        page.wait_for_selector("#status:has-text('did not answer')")
        page.click("#classify")
        assert page.text_content("#problem") == "The drawing is empty: draw something first."


def test_where_keys_are_set_the_page_asks_for_one_and_keeps_it_in_memory(
    copied: ModelStore, start_quickly: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    with start_quickly(copied.root, API_KEYS=hashlib.sha256(b"sesame").hexdigest()) as server:
        server.wait_until_ready()
        page = visit(server.url)
        page.wait_for_selector("#samples button")
        assert "curl -H 'X-API-Key: KEY' " in page.text_content("#curl")
        assert '"X-API-Key": "KEY"' in page.text_content("#python")
        page.click("#samples button[title='Bag']")
        page.wait_for_selector("#problem:has-text('API key')")
        page.fill("#key", "sesame")
        page.click("#samples button[title='Bag']")
        answered(page)
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_of_several_models_one_is_chosen_on_the_page(
    copied: ModelStore, start_quickly: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    other, card = ModelStore(copied.root, "second"), copied.card(1)
    with other.stage() as staged:
        shutil.copytree(copied.path(1), staged, dirs_exist_ok=True)
        other.publish(
            staged, replace(card, name="second", classes=card.classes[::-1], created="2020-01-01T00:00+00:00")
        )
    with start_quickly(copied.root) as server:
        server.wait_until_ready()
        page = visit(server.url)
        page.click("#samples button[title='Ankle boot']")
        first = answered(page)
        assert page.locator("#chosen option").all_inner_texts() == ["fashion_mnist_sample", "second"]
        page.select_option("#chosen", "second")
        page.wait_for_selector("#answer", state="hidden")
        page.click("#samples button[title='Ankle boot']")
        assert answered(page) == card.classes[::-1][card.classes.index(first)]
        assert page.text_content("#facts").startswith("second version 1, answered in ")
        assert page.text_content("#curl").endswith(f"'{server.url}/predict?model=second'")
        page.click("#occlude")
        page.wait_for_selector("#heat-words:has-text('cover')")
        page.reload()
        page.wait_for_selector("#status:has-text('second version 1 (')")
        page.click("#tab-model")
        page.wait_for_selector("#confusion button")
        assert "second version 1" in page.text_content("#card")
        page.wait_for_selector("#versions details")
        assert Axe().run(page).violations_count == 0
        page.select_option("#chosen", "fashion_mnist_sample")
        page.wait_for_selector("#card:has-text('fashion_mnist_sample version 1')")
