"""The pictures that an imported model is checked and tested on, in its shape and with its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from registry.names import normalized
from trainer.data import folder, pictures
from trainer.data.dataset import DataError, ImageDataset, Split, listed
from trainer.data.folder_files import files_below
from trainer.data.pictures import Shape
from trainer.imported.options import ImportOptions

CHECKED = 100  # pictures on which ranges are compared, evenly over those given; each of five ranges runs the model


def test_set(options: ImportOptions, shape: Shape) -> ImageDataset | None:
    """The pictures of `--test`, without training images: `test` judges, `validation` fits the temperature.

    Raises:
        DataError: the folder cannot be used, or has classes that the model does not know.
    """
    if options.test is None:
        return None
    found = folder.held_out(options.test, options.artifacts / "data", shape)
    if unknown := sorted(set(found.classes) - set(options.classes)):
        raise DataError(
            f"{options.test}: expected folders named like the classes of --classes; found {listed(unknown)}. "
            "Rename the folders, or the classes."
        )
    # The folders' labels are places in their own alphabetical list.
    places = np.array([options.classes.index(name) for name in found.classes])
    train, validation, test = (
        Split(split.images, places[split.labels])
        for split in (found.splits["train"], found.splits["validation"], found.splits["test"])
    )
    if not len(test):
        raise DataError(f"{options.test}: expected pictures that can be read. {' '.join(found.left_out[:1])}")
    found = replace(found, splits={"train": train, "validation": validation, "test": test})
    known = (options.name, found.source, options.classes)
    return ImageDataset(*known, train, validation, test, sha256=found.sha256, left_out=found.left_out)


def samples(options: ImportOptions, tested: ImageDataset | None, shape: Shape) -> Split | None:
    """Some pictures of `--samples`, else of `--test`, to check the range on; None where neither is given.

    Their labels are -1 unless all pictures lie in folders named like classes.

    Raises:
        DataError: no such folder, no picture in it, or one that cannot be read.
    """
    if options.samples is None:
        return None if tested is None else _some(tested.test)
    if not options.samples.is_dir():
        raise DataError(f"{options.samples}: expected a folder of pictures for --samples; there is none.")
    files = [path for path in files_below(options.samples, set()) if path.is_file() and pictures.is_readable(path)]
    if not files:
        raise DataError(f"{options.samples}: expected pictures for --samples; found none.")
    chosen = [files[at] for at in _evenly(len(files))]
    images = np.stack([pictures.read(path, shape) for path in chosen])
    return Split(images, _labels(chosen, options.classes))


def _labels(files: Sequence[Path], classes: Sequence[str]) -> np.ndarray:
    places = {name: place for place, name in enumerate(classes)}
    labels = [places.get(normalized(path.parent.name), -1) for path in files]
    return np.array(labels if min(labels) >= 0 else [-1] * len(labels))


def _some(split: Split) -> Split:
    chosen = _evenly(len(split))
    return Split(split.images[chosen], split.labels[chosen])


def _evenly(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(CHECKED, count)).astype(int)
