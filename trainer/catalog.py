"""TensorFlow Datasets' sets as arrays: prepared once by TFDS, decoded once, and read from then on.

Decoding 60,000 PNGs at every start would cost ten seconds; the decoded arrays lie beside the prepared set.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer import fashion_mnist, idx
from trainer.idx import DataError


@dataclass(frozen=True)
class Decoded:
    """`arrays`: (split, "images") uint8 (n, height, width) and (split, "labels") uint8 (n,), in IDX order."""

    source: str
    classes: tuple[str, ...]
    arrays: dict[tuple[str, str], np.ndarray]


def decoded(name: str, data_dir: Path) -> Decoded:
    """The arrays of one data set, preparing and decoding it on first use.

    Raises:
        DataError: no source, or one that does not hold what it should.
    """
    folder = data_dir / "decoded" / name
    if (folder / "about.json").is_file():
        try:
            return _read(folder)
        except (DataError, OSError, ValueError) as error:
            print(f"The decoded copy in {folder} is damaged ({error}); decoding anew.", flush=True)
            shutil.rmtree(folder)
    data_dir.mkdir(parents=True, exist_ok=True)
    builder, source = _prepared(name, data_dir)
    result = Decoded(source, tuple(builder.info.features["label"].names), _decode(builder))
    fashion_mnist.check(result.arrays, str(builder.data_path))
    _write(folder, result)
    return result


def _prepared(name: str, data_dir: Path) -> tuple[Any, str]:
    """A builder whose data is on disk, in our directory or the user's own, and where it came from."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    default = Path(tfds.core.constants.DATA_DIR).expanduser()
    for folder in (data_dir, default):
        builder = tfds.builder(name, data_dir=folder)
        if (builder.data_path / "dataset_info.json").is_file():
            return builder, f"TensorFlow Datasets in {builder.data_path}"
    builder = tfds.builder(name, data_dir=data_dir)
    return builder, fashion_mnist.prepare(builder)


def _decode(builder: Any) -> dict[tuple[str, str], np.ndarray]:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    arrays = {}
    for split in ("train", "test"):
        in_order = tfds.ReadConfig(interleave_cycle_length=1)
        try:
            dataset = builder.as_dataset(split=split, as_supervised=True, read_config=in_order)
            batches = list(dataset.batch(4096).prefetch(2).as_numpy_iterator())
        except tf.errors.OpError as error:
            raise DataError(
                f"{builder.data_path}: expected a prepared TFDS set, its {split} split cannot be read "
                f"({error.message}). Remove that folder and run again."
            ) from error
        order = _file_order(split, sum(len(labels) for _, labels in batches))
        arrays[split, "images"] = np.concatenate([images for images, _ in batches])[order, :, :, 0]
        arrays[split, "labels"] = np.concatenate([labels for _, labels in batches])[order].astype(np.uint8)
    return arrays


def _file_order(split: str, count: int) -> np.ndarray:
    """Undoes TFDS's shuffle: TFDS sorts examples by a hash of their key, here their place in the IDX file.

    In the files' own order the content can be checked against its published hash, and the first 48,000
    images are the ones that the paper trained on.
    """
    from tensorflow_datasets.core import hashing

    stored = sorted(range(count), key=hashing.Hasher(split).hash_key)
    order = np.empty(count, np.int64)
    order[stored] = np.arange(count)
    return order


def _write(folder: Path, result: Decoded) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".decoded-", dir=folder.parent))
    try:
        for part, values in result.arrays.items():
            np.save(staged / f"{'_'.join(part)}.npy", values)
        (staged / "about.json").write_text(json.dumps({"source": result.source, "classes": result.classes}))
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _read(folder: Path) -> Decoded:
    about = json.loads((folder / "about.json").read_text())
    arrays = {part: np.load(folder / f"{'_'.join(part)}.npy") for part in idx.FILES}
    fashion_mnist.check(arrays, str(folder))
    return Decoded(about["source"], tuple(about["classes"]), arrays)
