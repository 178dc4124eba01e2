"""TensorFlow Datasets' sets: prepared by TFDS and decoded on first use; later runs read the decoded arrays.

Decoding 60,000 PNGs at every start would cost ten seconds.
"""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from registry.text import first_line
from trainer.backend import import_tensorflow
from trainer.data import cache, idx
from trainer.data.dataset import Batches, DataError, Decoded, cut
from trainer.data.pictures import Shape, fit_array, shape_for

BATCH = 1024
CONNECT_SECONDS = 5


def load(name: str, data_dir: Path, image_size: int) -> Decoded:
    """A TFDS image classification set by its name, prepared and decoded on first use.

    Args:
        name: as TFDS knows it, such as `cifar10` or `emnist/letters`.
        data_dir: where prepared data is kept; made if it is not there.
        image_size: height and width of the images; 0: their own, if that is one size.

    Raises:
        DataError: unknown to TFDS, not an image classification set, not available, or damaged.
    """
    folder = cache.folder_of(data_dir, name, image_size)
    if found := cache.read(folder):
        return found
    builder = builder_of(name, data_dir)
    image, label = _labelled_images(builder)
    source = f"TensorFlow Datasets in {builder.data_path}"
    if not is_prepared(builder):
        source = "TensorFlow Datasets' download"
        with downloading(builder) as temporary:
            builder.download_and_prepare(download_dir=temporary)
    names = builder.info.features[label].names
    if builder.name == "emnist":
        names = idx.EMNIST_CLASSES[builder.builder_config.name]
    size, channels = builder.info.features[image].shape[:2], builder.info.features[image].shape[2] or 3
    shape = shape_for(None if None in size else size, channels, image_size)
    return cache.write(folder, {"source": source, "classes": names}, _splits(builder, shape))


def builder_of(name: str, data_dir: Path) -> Any:
    """TFDS's builder of a set that is prepared in our directory or the user's own, else one for our directory.

    Raises:
        DataError: TFDS does not know it.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        ours, users = tfds.builder(name, data_dir=data_dir), tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:  # of an unknown config or version
        reason = first_line(error)
        raise DataError(
            f"`dataset` must be a TFDS image classification set, folder:PATH or idx:PATH. Received: {name} "
            + (f"(for the folder of this name: folder:{name})." if Path(name).is_dir() else f"({reason}).")
        ) from error
    return users if is_prepared(users) and not is_prepared(ours) else ours


def is_prepared(builder: Any) -> bool:
    """As the builder's own method of that name, which warns where there is nothing."""
    return (builder.data_path / "dataset_info.json").is_file()


@contextmanager
def downloading(builder: Any) -> Iterator[str]:
    """A temporary folder for the downloads of a set, once the set's host has answered.

    The host is asked first, because TFDS retries for minutes before it gives up on one.

    Raises:
        DataError: the host does not answer, or the block fails.
    """
    for url in list(builder.url_infos or ())[:1]:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the address is TFDS's own
            urllib.request.urlopen(request, timeout=CONNECT_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:
            pass  # it answers, if with an error
        except OSError as error:
            raise DataError(f"TFDS's download: {url} ({getattr(error, 'reason', error)})") from error
    import_tensorflow()  # quietly, before TFDS does
    print(f"Downloading {builder.info.full_name} with TensorFlow Datasets.", flush=True)
    root = builder.data_path.parent.parent
    root.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="tfds-", dir=root) as temporary:
            yield temporary
    except Exception as error:  # a builder may raise anything: network, disk, checksums, missing packages
        reason = " ".join(str(error).split())
        raise DataError(f"TFDS could not prepare {builder.info.full_name}: {type(error).__name__}: {reason}") from error


def batches(builder: Any, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of the images and labels of a prepared split, in TFDS's order; one image a batch where sizes differ."""
    import_tensorflow()  # quietly, before TFDS does
    import tensorflow as tf
    import tensorflow_datasets as tfds

    image, label = _labelled_images(builder)
    size = 1 if None in builder.info.features[image].shape else BATCH
    try:
        in_order = tfds.ReadConfig(interleave_cycle_length=1)
        dataset = builder.as_dataset(split=split, read_config=in_order).batch(size).prefetch(2)
        for each in dataset.as_numpy_iterator():
            yield each[image], each[label]
    except tf.errors.OpError as error:
        raise DataError(
            f"{builder.data_path}: expected a prepared TFDS set, its {split} split cannot be read "
            f"({error.message}). Remove that folder and run again."
        ) from error


def _splits(builder: Any, shape: Shape) -> Batches:
    """The images of all our splits, fitted; splits that TFDS does not have are cut from its training images."""
    splits = list(builder.info.splits)
    if "train" not in splits:
        raise DataError(f"{builder.name}: expected a split named train; TFDS has {', '.join(splits) or 'none'}.")
    sources = {split: split for split in ("train", "validation", "test") if split in splits}
    if "test" not in splits and "validation" in splits:
        # The test images of some sets have no labels, and TFDS leaves them out.
        sources = {"train": "train", "test": "validation"}
    upright = idx.emnist_upright if builder.name == "emnist" else np.asarray
    found: Batches = (
        (split, np.stack([fit_array(each, shape) for each in upright(images)]), labels)
        for split, source in sources.items()
        for images, labels in batches(builder, source)
    )
    for split in ("test", "validation"):
        if split not in sources:
            found = cut(found, split)
    return found


def _labelled_images(builder: Any) -> tuple[str, str]:
    """The names of the image feature and of the label feature.

    Raises:
        DataError: it has not exactly these two.
    """
    import tensorflow_datasets as tfds

    features, keys = builder.info.features, builder.info.supervised_keys
    if keys and len(keys) == 2 and all(key in features for key in keys):
        image, label = keys
        if isinstance(features[image], tfds.features.Image) and isinstance(features[label], tfds.features.ClassLabel):
            return image, label
    raise DataError(
        f"{builder.name}: expected a set of images with one class label each; "
        f"TFDS describes {' '.join(str(features).split())}."
    )
