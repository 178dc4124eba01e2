"""The model card of an imported model: what is known of it. What is not known is left out, never guessed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.card import ModelCard, TensorSpec
from registry.disk import hashes
from trainer.data.dataset import ImageDataset
from trainer.imported.model import ImportedModel
from trainer.imported.options import ImportOptions
from trainer.release.card import commit, libraries
from trainer.release.exported import INPUT, OUTPUT


def card_of(
    model: ImportedModel, options: ImportOptions, tested: ImageDataset | None, metrics: dict[str, Any]
) -> ModelCard:
    """The card of an imported model, not yet judged."""
    now = datetime.now(UTC)
    data: dict[str, Any] = {"dataset": options.name, "images": {}}
    if tested:
        images = {"test": len(tested.test), "calibration": len(tested.validation)}
        data |= {"source": tested.source, "sha256": tested.sha256, "images": images, "anomalies": [*tested.left_out]}
    return ModelCard(
        name=options.name,
        run=f"{now:%Y%m%d-%H%M%S}-imported",
        created=now.isoformat(timespec="seconds"),
        classes=options.classes,
        input=TensorSpec(INPUT, model.shape, "float32"),
        output=TensorSpec(OUTPUT, (len(options.classes),), "float32"),
        data=data,
        config={
            "model": options.path.resolve().name,
            "imported": model.source.format,
            "sha256": _sha256(options.path),
            "range": model.range,
            "channels": "grey" if model.shape[2] == 1 else "BGR" if model.reverses else "RGB",
            "channels_first": model.source.channels_first,
            "output": model.output,
            "temperature": model.temperature,
        },
        metrics=metrics,
        libraries=libraries(),
        commit=commit(),
    )


def _sha256(path: Path) -> str:
    """Of the model's file; of a directory, of the hashes of its files."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256("".join(hashes(path).values()).encode()).hexdigest()
