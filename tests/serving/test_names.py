"""A model whose name is not ASCII is served as any other: found, asked by both protocols, and counted."""

import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from registry.card import ModelCard

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]  # starts several servers or a browser

NAME = unicodedata.normalize("NFC", "café_花")
TIMEOUT = 300


def test_a_model_with_a_name_in_any_script_is_served(
    tmp_path: Path,
    publish: Callable[[Path, NDArray[np.float32], ModelCard], Path],
    weights: NDArray[np.float32],
    card: ModelCard,
    start: Callable[..., AbstractContextManager[Any]],
) -> None:
    publish(tmp_path / "models", weights, card)
    publish(tmp_path / "models", weights, replace(card, name=NAME))
    decomposed = unicodedata.normalize("NFD", NAME)
    with start(tmp_path / "models", MODEL_NAME=decomposed) as server:
        server.wait_until_ready()
        image = np.zeros((28, 28), int).tolist()
        reply = requests.post(f"{server.url}/predict", json={"images": [image]}, timeout=TIMEOUT)
        assert reply.json()["model"] == NAME
        for spelling in (NAME, decomposed):
            first = requests.get(f"{server.url}/v1/models/{quote(spelling)}", timeout=TIMEOUT)
            assert first.json()["model_version_status"][0]["state"] == "AVAILABLE"
            second = requests.get(f"{server.url}/v2/models/{quote(spelling)}", timeout=TIMEOUT)
            assert (second.status_code, second.json()["name"]) == (200, NAME)
        scraped = requests.get(f"{server.url}/metrics", timeout=TIMEOUT)
        scraped.encoding = "utf-8"
        assert f'serving_model_version{{model="{NAME}"' in scraped.text.replace(", ", ",")
