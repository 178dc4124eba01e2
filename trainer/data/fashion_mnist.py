"""Where Fashion-MNIST comes from, and the proof that it is Fashion-MNIST.

Four sources are tried in order: a directory that TFDS prepared, IDX files on this machine, TFDS's download, Debian's
package. Mirrors have served MNIST's digits under this name, so the content is checked whatever the source; Debian
compresses the files again, so it is the decompressed content.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data import cache, idx, tfds
from trainer.data.dataset import Batches, DataError, Decoded, content_hash
from trainer.data.pictures import Shape, fit_array, shape_for

# SHA-256 of the decompressed IDX files.
SHA256 = {
    ("train", "images"): "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ("train", "labels"): "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ("test", "images"): "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ("test", "labels"): "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

NAME = "fashion_mnist"
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
VALIDATION = 12_000  # of the 60,000 training images, the last ones: the paper's cut

FOLDER_VARIABLE = "FASHION_MNIST_DIR"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

Arrays = Mapping[idx.Part, np.ndarray]


class SourceUnavailable(Exception):  # noqa: N818  - not an error as long as another source answers
    """A source that is not available; the message says what was expected of it."""


def load(name: str, data_dir: Path, image_size: int) -> Decoded:
    """Fashion-MNIST with the paper's cut, from the first source that is available; its arrays are kept in `data_dir`.

    Args:
        name: `fashion_mnist`, perhaps with TFDS's version.
        data_dir: where prepared data is kept; made if it is not there.
        image_size: height and width of the images; 0: their own.

    Raises:
        DataError: the files of a source are damaged or are not Fashion-MNIST, or no source is available.
    """
    folder = cache.folder_of(data_dir, name, image_size)
    found = cache.read(folder)
    if found and (image_size or _is_published(found)):
        return found
    shutil.rmtree(folder, ignore_errors=True)
    source, arrays = _first_source(name, data_dir)
    check(arrays, source)
    batches = _cut(arrays, shape_for((28, 28), 1, image_size))
    return cache.write(folder, {"source": source, "classes": CLASSES}, batches)


def recognized(found: Decoded) -> Decoded | None:
    """Fashion-MNIST with the paper's cut, and its class names where there were only numbers; None for another set."""
    if not _is_published(found):
        return None
    train = found.splits["train"]
    splits = {"train": train[:-VALIDATION], "validation": train[-VALIDATION:], "test": found.splits["test"]}
    numbers = tuple(map(str, range(len(CLASSES))))
    return replace(found, splits=splits, classes=CLASSES if found.classes == numbers else found.classes)


def check(arrays: Arrays, source: str) -> None:
    """Raises DataError unless the arrays, in the order of the IDX files, are Fashion-MNIST's published content."""
    for (split, kind), expected in SHA256.items():
        if (actual := content_hash(arrays[split, kind])) != expected:
            raise DataError(
                f"{source} does not hold Fashion-MNIST: its {split} {kind} have SHA-256 {actual}, "
                f"expected {expected}. Remove it and run again."
            )


def _is_published(found: Decoded) -> bool:
    return found.sha256 == hashlib.sha256("".join(SHA256.values()).encode()).hexdigest()


def _cut(arrays: Arrays, shape: Shape) -> Batches:
    parts = {"train": slice(-VALIDATION), "validation": slice(-VALIDATION, None), "test": slice(None)}
    for split, part in parts.items():
        source = "test" if split == "test" else "train"
        images = arrays[source, "images"][part][..., None]
        yield split, np.stack([fit_array(each, shape) for each in images]), arrays[source, "labels"][part]


def _first_source(name: str, data_dir: Path) -> tuple[str, Arrays]:
    """The name and the arrays of the first source that is available."""
    builder, tried = tfds.builder_of(name, data_dir), []
    for source in (_from_prepared, _from_files, _from_download, _from_debian):
        try:
            return source(builder)
        except SourceUnavailable as reason:
            tried.append(f"  - {reason}")
    raise DataError(
        "Fashion-MNIST is not on this machine and could not be fetched. Tried:\n"
        + "\n".join(tried)
        + f"\nTo fix it, set {FOLDER_VARIABLE} to a folder with the four IDX files, "
        f"or install Debian's package (apt-get install {DEBIAN_PACKAGE})."
    )


def _from_prepared(builder: Any) -> tuple[str, Arrays]:
    if not tfds.is_prepared(builder):
        raise SourceUnavailable(f"TensorFlow Datasets: nothing is prepared in {builder.data_path}, nor elsewhere")
    arrays = {}
    for split in ("train", "test"):
        images, labels = map(np.concatenate, zip(*tfds.batches(builder, split), strict=True))
        # TFDS keeps examples in the order of the MD5 of split and key; the key is the place in the IDX file.
        keys = [hashlib.md5(f"{split}{place}".encode()).hexdigest() for place in range(len(labels))]  # noqa: S324
        in_file_order = np.argsort(np.argsort(keys))
        arrays[split, "images"], arrays[split, "labels"] = images[in_file_order, ..., 0], labels[in_file_order]
    return f"TensorFlow Datasets in {builder.data_path}", arrays


def _from_files(_: Any) -> tuple[str, Arrays]:
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else DEBIAN_FOLDER
    try:
        files = idx.find(folder)[1]
    except DataError as error:
        if named:
            raise DataError(f"{FOLDER_VARIABLE}: {error}") from error
        raise SourceUnavailable(f"IDX files: {FOLDER_VARIABLE} is not set, and there are none in {folder}") from error
    return str(folder), idx.read_all(files)


def _from_download(builder: Any) -> tuple[str, Arrays]:
    import tensorflow_datasets

    parts = {f"{name}.gz": part for part, name in idx.FILES.items()}
    try:
        with tfds.downloading(builder) as temporary:
            manager = tensorflow_datasets.download.DownloadManager(
                download_dir=temporary, url_infos=builder.url_infos, force_checksums_validation=True
            )
            paths = manager.download({parts[info.filename]: url for url, info in builder.url_infos.items()})
            return "TensorFlow Datasets' download", idx.read_all(paths)
    except DataError as error:
        raise SourceUnavailable(str(error)) from error


def _from_debian(_: Any) -> tuple[str, Arrays]:
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as temporary:
        folder = Path(temporary)
        try:
            print(f"Downloading Fashion-MNIST with Debian's package {DEBIAN_PACKAGE}.", flush=True)
            _apt_download(folder)
            package = next(folder.glob("*.deb"))
            _run(["dpkg-deb", "-x", package.name, "."], folder)
        except SourceUnavailable as reason:
            raise SourceUnavailable(f"Debian's package {DEBIAN_PACKAGE}: {reason}") from reason
        files = idx.find(folder / DEBIAN_FOLDER.relative_to("/"))[1]
        return f"Debian's package {DEBIAN_PACKAGE}", idx.read_all(files)


def _apt_download(folder: Path) -> None:
    """Fetches the package into `folder` as any user, without touching the system's package lists."""
    try:
        _run(["apt-get", "download", DEBIAN_PACKAGE], folder)
    except SourceUnavailable:
        # A fresh machine has no package lists, and only root may write the system's: keep a set of our own.
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder}"]
        _run(["apt-get", *own, "update"], folder)
        _run(["apt-get", *own, "download", DEBIAN_PACKAGE], folder)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceUnavailable(f"{command[0]}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SourceUnavailable(f"{command[0]} failed: {last}")
