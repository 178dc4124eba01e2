"""Photographs on a light background are made to look like the training images; everything else is left alone."""

import io
import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from serving.errors import InvalidImageError
from serving.images.files import Batch, from_files
from serving.images.photographs import Look, light_background
from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import bridged
from tests.serving.photographs import photograph

SHAPE = (28, 28, 1)
SAMPLES = sorted((Path(__file__).parents[2] / "serving" / "samples").glob("*.png"))


def png(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(content: bytes, look: Look | None = Look(28)) -> Batch:  # noqa: B008  # it is frozen
    return from_files([("photo", content)], SHAPE, Settings(), look)


def photo_of_a_box(background: str = "white", box: tuple[int, ...] = (100, 60, 140, 160)) -> Image.Image:
    """A black box, 41 x 101 pixels, off the centre."""
    picture = Image.new("RGB", (400, 300), background)
    ImageDraw.Draw(picture).rectangle(box, fill="black")
    return picture


@pytest.mark.parametrize("background", ["white", "#e6e2dc", "#b0b8c0"])
def test_a_thing_on_a_light_background_fills_the_frame_bright_on_black(background: str) -> None:
    (image,), (source,) = (lambda batch: (batch.images, batch.sources))(read(png(photo_of_a_box(background))))
    lit = image[..., 0] > 128
    assert lit.any(axis=1).sum() == 28
    assert lit.any(axis=0).sum() == 11
    assert lit.any(axis=0).argmax() == 8
    assert image.max() > 250
    assert image[:, :7].max() == image[:, -7:].max() == 0
    assert source.converted is None
    white = "" if background == "white" else " made white"
    assert source.preprocessing == (
        f"light background{white}, trimmed to 41x101, longest side to 28, sharpened, extended to 28x28, negated, grey"
    )


def test_the_longest_side_is_that_of_the_training_images() -> None:
    lit = read(png(photo_of_a_box()), Look(20)).images[0, ..., 0] > 128
    assert lit.any(axis=1).sum() == 20


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_photograph_comes_out_close_to_the_image_it_was_made_of(path: Path) -> None:
    original = np.asarray(Image.open(path)).astype(float)
    made = read(photograph(original.astype(np.uint8), seed=1)).images[0, ..., 0].astype(float)
    # It stays tilted by five degrees, which costs a thin sandal most.
    assert np.corrcoef(original.ravel(), made.ravel())[0, 1] > 0.5
    left_alone = read(photograph(original.astype(np.uint8), seed=1), None).images[0, ..., 0].astype(float)
    assert np.corrcoef(original.ravel(), left_alone.ravel())[0, 1] < 0.2


@pytest.mark.parametrize(
    ("picture", "converted"),
    [
        (Image.new("L", (28, 28), 255), None),
        (Image.fromarray(np.full((56, 56), 20, np.uint8)), "resized from 56x56"),
        (Image.fromarray(np.random.default_rng(0).integers(0, 256, (56, 56), np.uint8)), "resized from 56x56"),
        (Image.fromarray(np.random.default_rng(0).integers(156, 256, (56, 56), np.uint8)), "resized from 56x56"),
    ],
    ids=["of the model's size", "dark", "busy", "light but uneven"],
)
def test_an_image_without_a_light_even_border_or_of_the_right_size_is_left_alone(
    picture: Image.Image, converted: str | None
) -> None:
    batch = read(png(picture))
    assert batch.sources[0].preprocessing is None
    assert batch.sources[0].converted == converted


@pytest.mark.parametrize(("size", "left_alone"), [((32, 20), True), ((20, 32), False)])
def test_an_image_of_the_size_of_a_model_that_is_not_square_is_left_alone(
    size: tuple[int, int], left_alone: bool
) -> None:
    picture = Image.new("L", size, 255)
    picture.paste(0, (5, 5, 12, 12))
    (source,) = from_files([("photo", png(picture))], (20, 32, 1), Settings(), Look(20)).sources
    assert (source.preprocessing is None) == left_alone


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_photograph_comes_out_as_a_small_one_and_is_told_in_its_own_pixels(kind: str) -> None:
    small, large = photo_of_a_box(), photo_of_a_box().resize((4000, 3000), Image.Resampling.NEAREST)
    ours, theirs = read(png(small, "PNG")), read(png(large, kind))
    assert np.abs(ours.images.astype(int) - theirs.images).mean() < 3
    trimmed = re.search(r"trimmed to (\d+)x(\d+)", theirs.sources[0].preprocessing or "")
    assert trimmed
    assert [int(each) for each in trimmed.groups()] == pytest.approx([410, 1010], abs=25)


def test_a_cut_out_thing_is_laid_on_white() -> None:
    picture = photo_of_a_box().convert("RGBA")
    picture.putalpha(picture.convert("L").point(lambda shade: 255 - shade))
    source = read(png(picture)).sources[0]
    assert source.converted == "transparent parts to white"
    assert (source.preprocessing or "").startswith("light background, trimmed to 41x101")


def test_a_thin_picture_takes_no_more_memory_than_another() -> None:
    tracemalloc.start()
    try:
        assert light_background(Image.new("RGB", (2**20, 1), "white")) == (255, 255, 255)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_a_photograph_is_turned_upright_first() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    batch = read(png(photo_of_a_box(), "JPEG", exif=exif, quality=95))
    assert batch.sources[0].converted == "turned upright"
    lit = batch.images[0, ..., 0] > 128
    assert lit.any(axis=0).sum() == 28 > lit.any(axis=1).sum()


@pytest.mark.parametrize("shade", ["white", "#d0d0d0"])
def test_a_picture_of_nothing_is_refused_by_its_name(shade: str) -> None:
    with pytest.raises(InvalidImageError, match=r"^photo must show something\. Received: nothing but a light backg"):
        read(png(Image.new("RGB", (300, 200), shade)))


def test_a_cmyk_photograph_is_taken() -> None:
    assert read(png(photo_of_a_box().convert("CMYK"), "JPEG")).images.max() > 200


@pytest.mark.parametrize(
    ("look", "shape", "found"),
    [({"side": 20}, (28, 28, 1), Look(20)), (None, (28, 28, 1), None), ({"side": 20}, (28, 28, 3), None)],
)
def test_the_card_says_whether_and_how(card: Any, look: Any, shape: tuple[int, ...], found: Look | None) -> None:
    described = replace(card, data={"look": look}, input=replace(card.input, shape=shape))
    assert Look.of(described) == found
    assert Look.of(card) is None


@pytest.mark.parametrize(
    ("query", "setting", "done"),
    [("", 1, True), ("?preprocess=0", 1, False), ("", 0, False), ("?preprocess=1", 0, True)],
)
def test_the_reply_states_the_steps_and_a_switch_turns_them_off(
    card: Any, predictor: Any, query: str, setting: int, done: bool
) -> None:
    predictor.card = replace(card, data={"look": {"side": 28}})
    client = bridged(Served(predictor), Settings(preprocess=setting))
    reply = client.post(f"/predict{query}", data=png(photo_of_a_box()), content_type="image/png")
    assert ("preprocessing" in reply.json["predictions"][0]) == done


def test_a_switch_that_is_neither_on_nor_off_is_refused(client: Any, image: NDArray[np.uint8]) -> None:
    reply = client.post("/predict?preprocess=yes", data=json.dumps({"image": image.tolist()}))
    assert reply.status_code == 400
    assert reply.json["detail"] == "`preprocess` in the query must be 0 or 1. Received: yes."
