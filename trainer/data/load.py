"""Data sets by name: where each comes from, and how it is split into training, validation and test images."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from registry.names import RULE, is_name, name_from, normalized
from trainer.data import fashion_mnist, folder, idx, tfds
from trainer.data.dataset import DataError, Decoded, ImageDataset, Split, cut, listed

FOLDERS = ("folder", "idx")  # the kinds of data sets that are named by a path


def model_name(dataset: str, chosen: str | None = None) -> str:
    """The name of the model that a data set makes: the chosen one, else the set's or its folder's own.

    Raises:
        DataError: the chosen name breaks the rule for names, or no name can be derived from the folder's.
    """
    if chosen is not None:
        name = normalized(chosen)
        if not is_name(name):
            raise DataError(f"`name` {RULE}. Received: {chosen!r}.")
        return name
    kind, _, rest = dataset.partition(":")
    text = _path(rest).resolve().name if kind in FOLDERS and rest else kind  # of a TFDS set, without its version
    if (derived := name_from(text)) is None:
        raise DataError(
            f"{dataset}: expected a name to call the model by, found {text!r}. "
            "Choose one with --name (for a search, with --model-name)."
        )
    return derived


def load(
    dataset: str,
    data_dir: Path,
    *,
    name: str | None = None,
    image_size: int = 0,
    split_seed: int = 0,
) -> ImageDataset:
    """Loads a TFDS image classification set by its name, `folder:PATH` of pictures, or `idx:PATH` of four IDX files.

    Args:
        dataset: the data set.
        data_dir: where prepared data is kept; made if it is not there.
        name: of the model that it makes; left out, as `model_name` derives it.
        image_size: height and width that pictures are brought to; 0: the policy of `trainer.data.pictures`.
        split_seed: decides which pictures of a folder test and validate, where the folder does not.

    Raises:
        DataError: unknown, missing or damaged; the message says how to fix it.
    """
    model = model_name(dataset, name)
    kind, _, rest = dataset.partition(":")
    known, schema = "", None
    if kind == "idx" and rest:
        found, known = _idx_files(_path(rest), image_size)
    elif kind == "folder" and rest:
        found = folder.load(_path(rest), data_dir, image_size, split_seed)
        schema = _path(rest) / "schema.json"
    elif re.fullmatch(r"\w+(/[\w.-]+)?(:\d+\.\d+\.\d+)?", dataset):
        source = fashion_mnist if kind == fashion_mnist.NAME else tfds
        found, known = source.load(dataset, data_dir, image_size), kind
    else:
        raise DataError(
            f"`dataset` must be a TFDS image classification set, folder:PATH or idx:PATH. Received: {dataset}."
        )
    return replace(_dataset(model, found), schema=schema if schema and schema.is_file() else None, known=known)


def _idx_files(folder: Path, image_size: int) -> tuple[Decoded, str]:
    """The set in a folder of IDX files, and the name of the public set that it is; empty for another."""
    if image_size:
        raise DataError("`image_size` is for pictures and TensorFlow Datasets; images of IDX files keep their size.")
    found = idx.load(folder)
    published = fashion_mnist.recognized(found) or found
    is_known = published is not found and published.classes == fashion_mnist.CLASSES
    return published, fashion_mnist.NAME if is_known else ""


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def _dataset(name: str, found: Decoded) -> ImageDataset:
    found = _without_unused_classes(found)
    left_out = "".join(f" {each}" for each in found.left_out[:1])
    if len(found.classes) < 2:
        raise DataError(
            f"{found.source}: expected images of at least two classes, found {listed(found.classes)}.{left_out}"
        )
    if repeated := sorted({name for name in found.classes if found.classes.count(name) > 1}):
        raise DataError(f"{found.source}: expected class names that differ, found {listed(repeated)} repeated.")
    sha256, splits = found.sha256, found.splits
    if "validation" not in splits:
        whole = ((name, split.images, split.labels) for name, split in splits.items())
        splits = {name: Split(images, labels) for name, images, labels in cut(whole, "validation")}
    train, validation, test = (splits[name] for name in ("train", "validation", "test"))
    if not (len(train) and len(validation) and len(test) and min(train.images.shape[1:])):
        raise DataError(
            f"{found.source}: expected images to train, to validate and to test, "
            f"found {len(train)}, {len(validation)} and {len(test)} of shape {train.images.shape[1:]}.{left_out}"
        )
    return ImageDataset(
        name=name,
        source=found.source,
        classes=found.classes,
        train=train,
        validation=validation,
        test=test,
        sha256=sha256,
        left_out=found.left_out,
        test_by_seed=found.test_by_seed,
    )


def _without_unused_classes(found: Decoded) -> Decoded:
    """The set without the classes that no image has; a line names them."""
    used = np.unique(np.concatenate([split.labels for split in found.splits.values()]))
    if len(used) in (0, len(found.classes)):
        return found
    unused = [name for label, name in enumerate(found.classes) if label not in used]
    print(f"Left out, because no image is of them: the classes {listed(unused)} of {found.source}.", flush=True)
    return replace(
        found,
        classes=tuple(found.classes[label] for label in used),
        splits={name: Split(each.images, np.searchsorted(used, each.labels)) for name, each in found.splits.items()},
    )
