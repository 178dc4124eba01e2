"""Data sets by name: raw pixels and labels, split into training, validation and test images."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer import idx
from trainer.decoded import MEMORY_LIMIT, SPLITS, Decoded, Images
from trainer.idx import DataError

# Four fifths train, the last fifth validates: the paper's 48,000 and 12,000 of Fashion-MNIST's 60,000.
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Split:
    """Images of one split: `images` uint8 (n, height, width, channels), in memory or on disk; `labels` int64 (n,)."""

    images: Images
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> Split:
        return Split(self.images[part], self.labels[part])


@dataclass(frozen=True)
class ImageDataset:
    """A data set ready to train on.

    Attributes:
        name: its short name, which is also the name of the model it makes.
        source: where it came from, in words.
        classes: the class names; a label is an index into them.
        sha256: hash of all images and labels.
        left_out: files that could not be used, in words.
        schema: a file that says what the data should be, where its folder has one.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    sha256: str
    left_out: tuple[str, ...] = ()
    schema: Path | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def splits(self) -> dict[str, Split]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def load(
    name: str, data_dir: Path, *, image_size: int = 0, split_seed: int = 0, memory_limit: int = MEMORY_LIMIT
) -> ImageDataset:
    """Loads a TFDS image classification set by its name, `folder:PATH` of pictures, or `idx:PATH` of four IDX files.

    Args:
        name: the data set.
        data_dir: where prepared data is kept; made if it is not there.
        image_size: height and width that pictures are brought to; 0: the policy of `trainer.pictures`.
        split_seed: decides which pictures of a folder test and validate, where the folder does not.
        memory_limit: bytes of decoded images beyond which they are read from disk, batch by batch.

    Raises:
        DataError: unknown, missing or damaged; the message says how to mend it.
    """
    kind, _, rest = name.partition(":")
    short, schema = Path(rest).resolve().name, None
    if kind == "idx" and rest:
        found = _idx_folder(Path(rest))
    elif kind == "folder" and rest:
        from trainer import folder

        found = folder.load(Path(rest), data_dir, image_size, split_seed, memory_limit)
        schema = Path(rest) / "schema.json"
    elif re.fullmatch(r"\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?", name):
        from trainer import catalog

        short = name
        found = catalog.load(name, data_dir, image_size, memory_limit)
    else:
        raise DataError(
            f"`dataset` must be a TFDS image classification set, folder:PATH or idx:PATH. Received: {name}."
        )
    return _dataset(short, found, schema if schema and schema.is_file() else None)


def _idx_folder(folder: Path) -> Decoded:
    """Four IDX files in MNIST's layout; class names from `classes.txt`, one a line, where there is one."""
    arrays = {}
    for part in idx.FILES:
        path = idx.find(folder, part)
        if path is None:
            raise DataError(f"{folder / idx.FILES[part]}.gz: expected an IDX file there (or one without .gz).")
        arrays[part] = idx.read(path, 3 if part[1] == "images" else 1)
    for split in SPLITS:
        images, labels = len(arrays[split, "images"]), len(arrays[split, "labels"])
        if images != labels or not images:
            raise DataError(
                f"{folder}: expected a label for each image, found {images} {split} images, {labels} labels."
            )
    shapes = {arrays[split, "images"].shape[1:] for split in SPLITS}
    if len(shapes) > 1:
        raise DataError(f"{folder}: expected training and test images of one size, found {sorted(shapes)}.")
    highest = max(int(arrays[split, "labels"].max()) for split in SPLITS)
    names = folder / "classes.txt"
    try:
        classes = names.read_text("utf-8").splitlines() if names.is_file() else [str(at) for at in range(highest + 1)]
    except UnicodeDecodeError as error:
        raise DataError(f"{names}: expected class names in UTF-8 ({error}).") from error
    if highest >= len(classes):
        raise DataError(f"{names}: expected at least {highest + 1} class names, found {len(classes)}.")
    return Decoded(
        f"IDX files in {folder}",
        tuple(classes),
        {split: arrays[split, "images"][..., None] for split in SPLITS},
        {split: arrays[split, "labels"].astype(np.int64) for split in SPLITS},
    )


def _dataset(name: str, found: Decoded, schema: Path | None) -> ImageDataset:
    if len(set(found.classes)) < len(found.classes) or not all(each.strip() for each in found.classes):
        raise DataError(f"{found.source}: expected class names that differ, found {', '.join(found.classes)}.")
    train, test = (Split(found.images[split], found.labels[split]) for split in SPLITS)
    cut = round(len(train) * TRAIN_SHARE) if found.validation is None else len(train) - found.validation
    if not (0 < cut < len(train) and len(test) and min(train.images.shape[1:])):
        raise DataError(
            f"{found.source}: expected images to train, to validate and to test, "
            f"found {cut}, {len(train) - cut} and {len(test)} of shape {train.images.shape[1:]}."
            + "".join(f" {each}" for each in found.left_out[:1])
        )
    return ImageDataset(
        name=re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".-") or "pictures",
        source=found.source,
        classes=found.classes,
        train=train[:cut],
        validation=train[cut:],
        test=test,
        sha256=_content_hash(found),
        left_out=found.left_out,
        schema=schema,
    )


def _content_hash(found: Decoded) -> str:
    """Hash of the hashes of training images, training labels, test images and test labels as IDX files."""
    many = len(found.classes) > 256  # labels that one byte cannot hold
    parts = [
        idx.content_hash(values)
        for split in SPLITS
        for values in (found.images[split], found.labels[split].astype(np.uint16 if many else np.uint8).view(np.uint8))
    ]
    return hashlib.sha256("".join(parts).encode()).hexdigest()
