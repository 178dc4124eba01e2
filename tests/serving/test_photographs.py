"""Photographs meet a model that was trained on the real data: they are told apart as the images of the data set are."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.model.litert import LiteRTPredictor
from serving.model.served import Served, find
from serving.settings import Settings
from tests.conftest import train_and_push
from tests.serving.bridged import BridgeClient, bridged
from tests.serving.photographs import photograph
from trainer.recipes import RECIPES

pytestmark = pytest.mark.tensorflow

SAMPLES = sorted((Path(__file__).parents[2] / "serving" / "samples").glob("*.png"))
LABELS = {"t-shirt": "T-shirt/top", "ankle-boot": "Ankle boot"}  # where the file's name is not the label
SEEDS = 5


@pytest.fixture
def client(tmp_path: Path) -> BridgeClient:
    """The service over a model of a few epochs."""
    train_and_push([replace(RECIPES["default"], model="basic", epochs=4)], tmp_path)
    settings = Settings(artifacts=tmp_path)
    return bridged(Served(LiteRTPredictor(find(settings).path(1), 1)), settings)


def right(client: BridgeClient, pictures: Sequence[bytes]) -> int:
    """How many pictures, one of each sample, are called what they show."""
    files = [(io.BytesIO(picture), f"{number}.jpg") for number, picture in enumerate(pictures)]
    reply = client.post("/predict", data={"images": files}, content_type="multipart/form-data").json
    shown = [LABELS.get(path.stem, path.stem.capitalize()) for path in SAMPLES]
    return sum(each["label"] == label for each, label in zip(reply["predictions"], shown, strict=True))


@pytest.mark.slow
def test_photographs_are_told_at_least_as_well_as_nine_tenths_of_their_originals(client: BridgeClient) -> None:
    originals = right(client, [path.read_bytes() for path in SAMPLES])
    images = [np.asarray(Image.open(path)) for path in SAMPLES]
    sets = [[photograph(image, 10 * seed + place) for place, image in enumerate(images)] for seed in range(SEEDS)]
    assert originals >= 8
    assert np.mean([right(client, pictures) for pictures in sets]) >= 0.9 * originals
