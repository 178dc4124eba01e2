"""TensorFlow Datasets' sets: prepared once by TFDS, decoded once, and read from then on.

Decoding 60,000 PNGs at every start would cost ten seconds; the decoded arrays lie beside the prepared set.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from trainer.backend import import_tensorflow
from trainer.data import cache, download, emnist, fashion_mnist
from trainer.data.dataset import Batches, DataError, Decoded, cut
from trainer.data.pictures import Shape, fit_array, shape_for

BATCH = 1024


def load(name: str, data_dir: Path, image_size: int) -> Decoded:
    """A TFDS image classification set by its name, prepared and decoded on first use.

    Args:
        name: as TFDS knows it, such as `cifar10` or `emnist/letters`.
        data_dir: where prepared data is kept; made if it is not there.
        image_size: height and width of the images; 0: their own, if that is one size.

    Raises:
        DataError: unknown to TFDS, not an image classification set, not to be had, or damaged.
    """
    folder = data_dir / "decoded" / (name.replace("/", "-") + (f"-{image_size}" if image_size else ""))
    # Of Fashion-MNIST the content is known, as long as it is left in its own size.
    known = name.partition(":")[0] == fashion_mnist.NAME and not image_size
    found = cache.read(folder)
    if found is None or (known and not fashion_mnist.is_it(found)):
        shutil.rmtree(folder, ignore_errors=True)
        data_dir.mkdir(parents=True, exist_ok=True)
        builder, source = _prepared(name, data_dir)
        _decode(name, builder, source, image_size, folder)
        found = cache.read(folder)
        assert found is not None  # noqa: S101 - written above
        if known:
            try:
                fashion_mnist.check(found, str(builder.data_path))
            except DataError:
                shutil.rmtree(folder)
                raise
    return found


def _prepared(name: str, data_dir: Path) -> tuple[Any, str]:
    """A builder whose data is on disk, in our directory or the user's own, and where it came from."""
    import_tensorflow()  # before TFDS does
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    default = Path(tfds.core.constants.DATA_DIR).expanduser()
    try:
        for folder in (data_dir, default):
            builder = tfds.builder(name, data_dir=folder)
            if (builder.data_path / "dataset_info.json").is_file():
                return builder, f"TensorFlow Datasets in {builder.data_path}"
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:  # of an unknown config or version
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"`dataset` must be a TFDS image classification set, folder:PATH or idx:PATH. Received: {name} ({reason})."
        ) from error
    _labelled_images(name, builder)
    if builder.name == fashion_mnist.NAME:
        return builder, fashion_mnist.prepare(builder)
    return builder, download.prepare(builder)


def _labelled_images(name: str, builder: Any) -> tuple[str, str]:
    """The names of the image feature and of the label feature.

    Raises:
        DataError: it has no such two.
    """
    import tensorflow_datasets as tfds

    features, keys = builder.info.features, builder.info.supervised_keys
    if keys and len(keys) == 2 and all(key in features for key in keys):
        image, label = keys
        if isinstance(features[image], tfds.features.Image) and isinstance(features[label], tfds.features.ClassLabel):
            return image, label
    raise DataError(
        f"{name}: expected a set of images with one class label each; TFDS describes {' '.join(str(features).split())}."
    )


def _decode(name: str, builder: Any, source: str, image_size: int, folder: Path) -> None:
    image, label = _labelled_images(name, builder)
    feature = builder.info.features[image]
    shape = shape_for(feature.shape[:2] if None not in feature.shape[:2] else None, feature.shape[2] or 3, image_size)
    splits = list(builder.info.splits)
    if "train" not in splits:
        raise DataError(f"{name}: expected a split named train; TFDS has {', '.join(splits) or 'none'}.")
    # Where there is no labelled test split, its validation split tests.
    sources = {"train": "train"} | {split: split for split in ("validation", "test") if split in splits}
    if "test" not in splits and "validation" in splits:
        sources = {"train": "train", "test": "validation"}
    batches: Batches = itertools.chain.from_iterable(_batches(builder, *pair, shape) for pair in sources.items())
    if builder.name == fashion_mnist.NAME:
        batches = fashion_mnist.cut(batches)
    for split in ("test", "validation"):
        if split not in sources and builder.name != fashion_mnist.NAME:
            batches = cut(batches, split)
    classes = (
        emnist.CLASSES[builder.builder_config.name] if builder.name == "emnist" else builder.info.features[label].names
    )
    cache.write(folder, {"source": source, "classes": classes}, batches)


def _batches(builder: Any, split: str, part: str, shape: Shape) -> Batches:
    """Batches of fitted images of TFDS's split `part`, as those of `split`.

    Fashion-MNIST comes in the order of its own files, so that its content can be checked against the published
    hash, and the first 48,000 images are the ones that the paper trained on. Of other sets TFDS's order is kept.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    image, label = _labelled_images(builder.name, builder)
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    size = 1 if None in builder.info.features[image].shape else BATCH  # those of several sizes fit into no batch
    try:
        dataset = builder.as_dataset(split=part, read_config=in_order).batch(size).prefetch(2)
        batches = ((each[image], each[label]) for each in dataset.as_numpy_iterator())
        pairs = [_in_file_order(part, list(batches))] if builder.name == fashion_mnist.NAME else batches
        for images, labels in pairs:
            images = emnist.upright(images) if builder.name == "emnist" else images
            yield split, np.stack([fit_array(each, shape) for each in images]), labels
    except tf.errors.OpError as error:
        raise DataError(
            f"{builder.data_path}: expected a prepared TFDS set, its {part} split cannot be read "
            f"({error.message}). Remove that folder and run again."
        ) from error


def _in_file_order(split: str, batches: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Undoes TFDS's shuffle: TFDS sorts examples by a hash of their key, here their place in the IDX file."""
    from tensorflow_datasets.core import hashing

    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    stored = sorted(range(len(labels)), key=hashing.Hasher(split).hash_key)
    order = np.empty(len(labels), np.int64)
    order[stored] = np.arange(len(labels))
    return images[order], labels[order]
