"""The model card of a run: what its version is and how it was made, as JSON for programs and as Markdown for people."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from jinja2 import StrictUndefined, Template

from registry.card import ModelCard, TensorSpec
from trainer.data.cache import parts
from trainer.data.checks import Inspection
from trainer.data.dataset import ImageDataset, Split
from trainer.release.exported import INPUT, OUTPUT
from trainer.release.finished import Run

DARK = 12  # grey levels up to which a pixel is background: 5 % of 255, as Fashion-MNIST's makers had it
BORDER_SHARE = 0.6  # of an image's border must be dark; an item may touch it
IMAGES_SHARE = 0.9  # of the images must have such a border
LIBRARIES: tuple[str, ...] = ("tensorflow", "keras", "numpy", "tensorflow-datasets")


def card_of(run: Run, dataset: ImageDataset, inspected: Inspection) -> ModelCard:
    """The card of a run's model, not yet judged."""
    return ModelCard(
        name=dataset.name,
        run=run.directory.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        classes=dataset.classes,
        input=TensorSpec(INPUT, dataset.shape, "float32"),
        output=TensorSpec(OUTPUT, (len(dataset.classes),), "float32"),
        data={
            "dataset": dataset.name,
            "source": dataset.source,
            "sha256": dataset.sha256,
            "images": {name: len(split) for name, split in dataset.splits.items()},
            "statistics": asdict(inspected.statistics),
            "anomalies": list(inspected.anomalies),
            "look": items_on_black(dataset.train),
        },
        config=run.config.asdict(),
        metrics=run.metrics,
        libraries=libraries(),
        commit=commit(),
    )


def libraries() -> dict[str, str]:
    """The version of Python and of each library that matters."""
    names = (*LIBRARIES, "jax") if keras.backend.backend() == "jax" else LIBRARIES
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def commit() -> str | None:
    """The commit of the code that trained, marked where files differ from it; None outside a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return described.stdout.strip() or None


def items_on_black(train: Split) -> dict[str, int] | None:
    """How large the items are in grey training images of items on black, so that serving can prepare photographs alike.

    Returns:
        {"side": median of the items' longest sides, in pixels}; None for images in colour or not on black.
    """
    if train.images.shape[3] != 1:
        return None
    measured = [_borders_and_sides(train.images[part]) for part in parts(len(train), train.images.shape[1:])]
    dark_borders, sides = (np.concatenate(each) for each in zip(*measured, strict=True))
    return {"side": max(1, int(np.median(sides)))} if dark_borders.mean() >= IMAGES_SHARE else None


def _borders_and_sides(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each image (n, height, width, 1): whether its border is dark, and the item's longest side in pixels."""
    lit = np.greater(images[..., 0], DARK)
    border = np.concatenate([lit[:, 0], lit[:, -1], lit[:, :, 0], lit[:, :, -1]], axis=1)
    heights, widths = (_extent(lit.any(axis=axis)) for axis in (2, 1))
    return border.mean(axis=1) <= 1 - BORDER_SHARE, np.maximum(heights, widths)


def _extent(lit: np.ndarray) -> np.ndarray:
    """From the first to the last true of each row, both counted; 0 where there is none."""
    first, after = lit.argmax(axis=1), lit.shape[1] - lit[:, ::-1].argmax(axis=1)
    return np.where(lit.any(axis=1), after - first, 0)


def as_markdown(card: ModelCard) -> str:
    """A judged card as text; every number in it comes from the card."""
    text = Path(__file__).with_name("model_card.md.j2").read_text("utf-8")
    template = Template(text, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # An imported model may not have been tested.
    tested = "per_class" in card.metrics
    recalls = ((name, of["recall"]) for name, of in card.metrics.get("per_class", {}).items())
    corrupted = (
        (corruption, strength, accuracy)
        for corruption, accuracies in card.metrics.get("robustness", {}).items()
        for strength, accuracy in accuracies.items()
    )
    lowest, worst = (min(each, key=lambda found: found[-1], default=None) for each in (recalls, corrupted))
    imported = "imported" in card.config
    return template.render(
        card=card,
        tested=tested,
        imported=imported,
        lowest_recall=lowest,
        most_damaging=worst,
        latencies=_latencies(card),
    )


def _latencies(card: ModelCard) -> dict[str, dict[str, Any]]:
    """The times of a call by runtime: of each that can serve the model and was timed."""
    tensorflow = card.metrics["latency_ms"]  # None for a flatbuffer that was imported
    litert = card.metrics.get("litert_latency_ms")  # runs of earlier versions of this project have none
    measured = {"LiteRT, one thread": litert}
    if tensorflow:
        measured = {f"TensorFlow on a {tensorflow['device']}": tensorflow} | measured
    return {runtime: times for runtime, times in measured.items() if times}
