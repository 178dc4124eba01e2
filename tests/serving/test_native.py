"""The native API over a fake predictor, which calls an image by its first pixel."""

import base64
import gzip
import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.model.served import Served
from serving.settings import Settings
from tests.serving.bridged import BridgeClient, bridged


def encoded(image: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def test_one_json_image_is_answered_with_its_label_and_all_probabilities(
    client: BridgeClient, image: NDArray[np.uint8], predictor: Any
) -> None:
    reply = client.post("/predict", json={"image": image.tolist()})
    assert reply.status_code == 200
    assert reply.content_type == "application/json"
    assert (reply.json["model"], reply.json["version"]) == ("fashion_mnist", 7)
    (prediction,) = reply.json["predictions"]
    assert list(prediction) == ["label", "index", "probability", "top", "probabilities"]
    assert (prediction["label"], prediction["index"], prediction["probability"]) == ("Sandal", 5, 0.91)
    assert prediction["top"][0] == {"label": "Sandal", "probability": 0.91}
    assert len(prediction["top"]) == 3
    assert list(prediction["probabilities"]) == list(predictor.card.classes)
    assert (predictor.seen == image[None, ..., None]).all()


def test_many_json_images_are_answered_in_their_order(client: BridgeClient, image: NDArray[np.uint8]) -> None:
    reply = client.post("/predict", json={"images": [(image + shift).tolist() for shift in (0, 2, 1)]})
    assert [each["label"] for each in reply.json["predictions"]] == ["Sandal", "Sneaker", "Shirt"]


def test_the_top_is_sorted_and_ties_keep_the_order_of_the_classes(
    client: BridgeClient, image: NDArray[np.uint8]
) -> None:
    (prediction,) = client.post("/predict", json={"image": image.tolist()}).json["predictions"]
    assert [each["label"] for each in prediction["top"]] == ["Sandal", "T-shirt/top", "Trouser"]


@pytest.mark.parametrize(("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_an_image_body_is_answered(client: BridgeClient, kind: str, media_type: str, predictor: Any) -> None:
    grey = np.full((28, 28), 5, np.uint8)
    reply = client.post("/predict", data=encoded(grey, kind), content_type=media_type)
    assert reply.json["predictions"][0]["label"] == "Sandal"
    assert "converted" not in reply.json["predictions"][0]
    assert (predictor.seen == 5).all()


@pytest.mark.parametrize("media_type", ["image/jpg", "image/pjpeg", "image/*", "image/webp", "image/x-anything"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_the_bytes_of_an_image_count_whatever_image_its_type_says(
    client: BridgeClient, media_type: str, kind: str
) -> None:
    reply = client.post("/predict", data=encoded(np.full((28, 28), 5, np.uint8), kind), content_type=media_type)
    assert reply.json["predictions"][0]["label"] == "Sandal"


def data_url(image: NDArray[np.uint8], head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(encoded(image)).decode()


@pytest.mark.parametrize("head", ["data:image/png;base64,", "data:;base64,", "DATA:image/png;name=a.png;BASE64,\n"])
def test_a_data_url_in_json_is_an_image_file(client: BridgeClient, head: str) -> None:
    five, six = (np.full((28, 28), value, np.uint8) for value in (5, 6))
    (one,) = client.post("/predict", json={"image": data_url(five, head)}).json["predictions"]
    assert one["label"] == "Sandal"
    assert "file" not in one
    reply = client.post("/predict", json={"images": [data_url(six, head), data_url(five, head)]})
    assert [each["label"] for each in reply.json["predictions"]] == ["Shirt", "Sandal"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("shoe.png", "`image` must be lists of numbers, or an image file as a data URL (data:image/png;base64,...). "),
        ("data:image/png,shoe", "`image` must be lists of numbers, or an image file as a data URL"),
        ("data:image/png;base64,a-b", "`image` must hold base64. Received: 3 characters that are not."),
        ("data:image/png;base64,", "image must be a PNG, JPEG, GIF, BMP, WebP or TIFF image. Received: nothing."),
    ],
)
def test_a_string_that_is_no_image_file_is_told_what_one_would_be(
    client: BridgeClient, image: str, message: str
) -> None:
    reply = client.post("/predict", json={"image": image})
    assert reply.status_code == 400
    assert reply.json["detail"].startswith(message)


def test_a_conversion_is_stated(client: BridgeClient) -> None:
    colours = np.full((56, 56, 3), 5, np.uint8)
    reply = client.post("/predict", data=encoded(colours), content_type="image/png")
    assert reply.json["predictions"][0]["converted"] == "resized from 56x56, RGB to grey"


def test_files_of_a_form_are_answered_in_their_order_with_their_names(client: BridgeClient) -> None:
    files = [(io.BytesIO(encoded(np.full((28, 28), value, np.uint8))), f"{value}.png") for value in (7, 6)]
    reply = client.post("/predict", data={"image": files})
    assert [(each["file"], each["label"]) for each in reply.json["predictions"]] == [
        ("7.png", "Sneaker"),
        ("6.png", "Shirt"),
    ]


@pytest.mark.parametrize("media_type", [None, "application/x-www-form-urlencoded"])
def test_a_body_of_no_told_type_is_recognized(
    client: BridgeClient, image: NDArray[np.uint8], media_type: str | None
) -> None:
    text = b' {"image": ' + str(image.tolist()).encode() + b"}"
    for body in (text, encoded(image)):
        reply = client.post("/predict", data=body, content_type=media_type)
        assert reply.json["predictions"][0]["label"] == "Sandal"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "The form must hold at least one file. Received: none."),
        ({"top": "5"}, "The form must hold at least one file. Received: only the text field top."),
        (
            {"image": (io.BytesIO(b"text"), "a.png")},
            "a.png must be a PNG, JPEG, GIF, BMP, WebP or TIFF image. Received: 4 bytes",
        ),
        (
            {"image": (io.BytesIO(b""), "a.png")},
            "a.png must be a PNG, JPEG, GIF, BMP, WebP or TIFF image. Received: nothing.",
        ),
    ],
)
def test_a_form_without_proper_files_is_refused(client: BridgeClient, form: dict[str, Any], message: str) -> None:
    reply = client.post("/predict", data=form, content_type="multipart/form-data")
    assert reply.status_code == 400
    assert reply.json["detail"].startswith(message)


def test_fields_of_text_beside_the_file_are_ignored(client: BridgeClient, image: NDArray[np.uint8]) -> None:
    form = {"csrf_token": "abc", "image": (io.BytesIO(encoded(image)), "a.png"), "submit": "Send"}
    reply = client.post("/predict", data=form, content_type="multipart/form-data")
    assert [each["label"] for each in reply.json["predictions"]] == ["Sandal"]


@pytest.mark.parametrize("disposition", ["form-data", 'form-data; name=""', "nonsense"])
def test_a_part_without_a_name_is_refused(client: BridgeClient, disposition: str) -> None:
    body = f"--x\r\nContent-Disposition: {disposition}\r\n\r\n5\r\n--x--\r\n"
    reply = client.post("/predict", data=body, content_type="multipart/form-data; boundary=x")
    assert reply.status_code == 400


@pytest.mark.parametrize("media_type", ["text/plain", "nonsense"])
def test_a_media_type_that_is_not_served_is_refused(client: BridgeClient, media_type: str) -> None:
    reply = client.post("/predict", data=b"x", content_type=media_type)
    assert reply.status_code == 415
    assert reply.json["detail"] == (
        "The body must be application/json, image/*, multipart/form-data or application/octet-stream. "
        f"Received: {media_type}."
    )


@pytest.mark.parametrize(
    ("media_type", "received"),
    [
        (None, "no Content-Type"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"image=shoe", b"%PDF-1.7"])
def test_a_body_of_no_told_type_that_nobody_knows_is_refused(
    client: BridgeClient, body: bytes, media_type: str | None, received: str
) -> None:
    reply = client.post("/predict", data=body, content_type=media_type)
    assert reply.status_code == 415
    assert reply.json["detail"].endswith(f"Received: {received}.")


def test_raw_deflate_is_told_from_zlib_whatever_it_begins_with(client: BridgeClient) -> None:
    chance = np.random.default_rng(0)
    bodies = [chance.integers(0, chance.integers(1, 256), 784, np.uint8).tobytes() for _ in range(400)]
    alike = [body for body in bodies if int.from_bytes(raw_deflate(body)[:2], "big") % 31 == 0]
    assert alike
    for body in alike:
        headers = {"Content-Encoding": "deflate", "Content-Type": "application/octet-stream"}
        assert client.post("/predict", data=raw_deflate(body), headers=headers).status_code == 200


@pytest.mark.parametrize(
    "form", [b'--x\r\nContent-Disposition: form-data; name="i"; filename="a.png"\r\n\r\nabc', b"--y"]
)
def test_a_form_that_is_cut_off_is_called_so(client: BridgeClient, form: bytes) -> None:
    reply = client.post("/predict", data=form, content_type="multipart/form-data; boundary=x")
    assert reply.status_code == 400
    assert reply.json["detail"].startswith("The form must be whole multipart/form-data. Received: ")


def raw_deflate(content: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(content) + deflater.flush()


@pytest.mark.parametrize(
    ("coding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate), ("GZIP", gzip.compress)],
)
def test_a_compressed_body_is_inflated(
    client: BridgeClient, image: NDArray[np.uint8], coding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = compress(json.dumps({"image": image.tolist()}).encode())
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    reply = client.post("/predict", data=body, headers=headers)
    assert reply.json["predictions"][0]["label"] == "Sandal"


@pytest.mark.parametrize(
    ("coding", "body", "status", "received"),
    [
        ("br", b"x", 415, "Received: br."),
        ("gzip, gzip", b"x", 415, "Received: gzip, gzip."),
        ("gzip", b"{}", 400, "Received: 2 bytes (Error -3 while decompressing data: incorrect header check)."),
        ("gzip", b"", 400, "Received: one that is cut off."),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1], 400, "Received: one that is cut off."),
        ("gzip", gzip.compress(b"{}", mtime=0) + b"x", 400, "Received: one that is followed by something else."),
        ("deflate", b"\xff\xff", 400, "Received: 2 bytes (Error -3 while decompressing data: invalid block type)."),
        ("gzip", gzip.compress(bytes(17 * 2**20)), 413, "Received: more."),
        ("deflate", zlib.compress(bytes(17 * 2**20)), 413, "Received: more."),
    ],
)
def test_a_body_that_does_not_inflate_within_the_limit_is_refused(
    client: BridgeClient, coding: str, body: bytes, status: int, received: str
) -> None:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    reply = client.post("/predict", data=body, headers=headers)
    assert reply.status_code == status
    assert received in reply.json["detail"]


def test_a_compressed_form_is_refused(client: BridgeClient) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "multipart/form-data; boundary=x"}
    reply = client.post("/predict", data=b"x", headers=headers)
    assert reply.status_code == 415


def test_raw_pixels_are_answered_image_after_image(client: BridgeClient, predictor: Any) -> None:
    images = np.arange(3 * 784, dtype=np.uint16).astype(np.uint8).reshape(3, 28, 28, 1)
    reply = client.post("/predict", data=images.tobytes(), content_type="application/octet-stream")
    assert len(reply.json["predictions"]) == 3
    assert (predictor.seen == images).all()


@pytest.mark.parametrize(("size", "status"), [(0, 400), (783, 400), (785, 400), (257 * 784, 413)])
def test_raw_bytes_of_another_number_are_refused(client: BridgeClient, size: int, status: int) -> None:
    reply = client.post("/predict", data=bytes(size), content_type="application/octet-stream")
    assert reply.status_code == status
    assert "Received: " in reply.json["detail"]


def test_it_is_alive_before_it_is_ready() -> None:
    served = Served()
    client = bridged(served, Settings(ready_timeout=0))
    assert client.get("/healthz").json == {"status": "alive"}
    for reply in (client.get("/readyz"), client.post("/predict", json={"image": []})):
        assert reply.status_code == 503
        assert reply.headers["Retry-After"] == "1"
        assert reply.json["detail"] == "The model is being loaded. Try again in a moment."


def test_it_is_ready_once_a_predictor_is_there(client: BridgeClient) -> None:
    reply = client.get("/readyz")
    assert reply.status_code == 200
    assert reply.json == {"status": "ready", "model": "fashion_mnist", "version": 7}


def test_an_image_is_described_alike_alone_and_in_company(predictor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (64, 28, 28, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(64)
    # Many are equal, and many lie halfway between two numbers of six places.
    rows = (random.integers(0, 40, (64, 10)) / 128).astype(np.float32)
    monkeypatch.setattr(predictor, "predict", lambda images: rows[images[:, 0, 0, 0]])
    client = bridged(Served(predictor))
    together = client.post("/predict", data=images.tobytes(), content_type="application/octet-stream").json
    alone = [client.post("/predict", data=image.tobytes(), content_type="application/octet-stream") for image in images]
    assert [each for reply in alone for each in reply.json["predictions"]] == together["predictions"]


def test_a_probability_that_is_no_number_is_null_in_the_reply(
    predictor: Any, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "predict", lambda images: np.full((len(images), 10), np.nan, np.float32))
    (prediction,) = bridged(Served(predictor)).post("/predict", json={"image": image.tolist()}).json["predictions"]
    assert set(prediction["probabilities"].values()) == {None}
