"""Folders of made pictures for the tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.dataset import ImageDataset, Split

CHANCE = np.random.default_rng(0)


def draw(path: Path, size: tuple[int, int] = (20, 24), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    Image.fromarray(CHANCE.integers(0, 256, shape, dtype=np.uint8)).save(path)


def folder_of(root: Path, *splits: str, count: int = 10, **options: object) -> Path:
    for split in splits or ("",):
        for name in ("cat", "dog"):
            for number in range(count):
                draw(root / split / name / f"{number}.png", **options)
    return root


def sizes(dataset: ImageDataset) -> list[int]:
    return [len(split) for split in dataset.splits.values()]


def pixels(split: Split) -> set[bytes]:
    return {image.tobytes() for image in np.asarray(split.images)}
