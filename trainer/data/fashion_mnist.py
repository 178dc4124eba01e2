"""Where Fashion-MNIST comes from, and the proof that it is Fashion-MNIST.

Four sources are tried in order: an already prepared TFDS directory (see `trainer.data.tfds`), IDX files on this
machine, TFDS's own download, Debian's package. Mirrors have served MNIST's digits under this name, so the
content is checked whatever the source; Debian compresses the files anew, so it is the decompressed content.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.data import download, idx
from trainer.data.dataset import Batches, DataError, Decoded, content_hash

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


class SourceUnavailable(Exception):  # noqa: N818  - not an error as long as another source answers
    """A source that is not there; the message says what was looked for."""


def prepare(builder: Any) -> str:
    """Prepares TFDS's `fashion_mnist` builder from the first source that is there; returns that source's name.

    Raises:
        DataError: a source held damaged files, or no source was there.
    """
    sources: list[Callable[[Any], str]] = [_from_files, _from_tfds, _from_debian]
    tried = []
    for source in sources:
        try:
            return source(builder)
        except SourceUnavailable as reason:
            tried.append(f"  - {reason}")
    raise DataError(
        "Fashion-MNIST is not on this machine and could not be fetched. Tried:\n"
        + "\n".join(tried)
        + f"\nTo mend it: name a folder with the four IDX files in {FOLDER_VARIABLE}, "
        f"or install Debian's package (apt-get install {DEBIAN_PACKAGE})."
    )


def check(found: Decoded, source: str) -> None:
    """Raises DataError unless the decoded images and labels, in IDX order, are Fashion-MNIST's published content."""
    for (split, kind), expected in SHA256.items():
        names = [name for name in ("train", "validation") if name in found.splits] if split == "train" else ["test"]
        actual = content_hash(*(getattr(found.splits[name], kind) for name in names))
        if actual != expected:
            raise DataError(
                f"{source} does not hold Fashion-MNIST: its {split} {kind} have SHA-256 {actual}, "
                f"expected {expected}. Remove it and run again."
            )


def recognized(found: Decoded) -> Decoded | None:
    """Fashion-MNIST, where IDX files hold it: with its own cut, and its class names where there are numbers only."""
    if not is_it(found):
        return None
    numbers = tuple(map(str, range(len(CLASSES))))
    train = found.splits["train"]
    splits = {"train": train[:-VALIDATION], "validation": train[-VALIDATION:], "test": found.splits["test"]}
    return replace(found, splits=splits, classes=CLASSES if found.classes == numbers else found.classes)


def cut(batches: Batches) -> Batches:
    """The paper's cut of batches of which one holds all training images."""
    for split, images, labels in batches:
        if split == "train":
            yield "train", images[:-VALIDATION], labels[:-VALIDATION]
            yield "validation", images[-VALIDATION:], labels[-VALIDATION:]
        else:
            yield split, images, labels


def is_it(found: Decoded) -> bool:
    """Whether the decoded images and labels are the published ones."""
    try:
        check(found, "")
    except DataError:
        return False
    return True


def _from_files(builder: Any) -> str:
    named = os.environ.get(FOLDER_VARIABLE)
    folder = Path(named) if named else DEBIAN_FOLDER
    try:
        files = idx.find(folder)[1]
    except DataError as error:
        if named:
            raise DataError(f"{FOLDER_VARIABLE}: {error}") from error
        raise SourceUnavailable(f"IDX files: {FOLDER_VARIABLE} is not set, and there are none in {folder}") from error
    _prepare_from(builder, files)
    return str(folder)


def _from_tfds(builder: Any) -> str:
    try:
        return download.prepare(builder)
    except DataError as error:
        raise SourceUnavailable(str(error)) from error


def _from_debian(builder: Any) -> str:
    with tempfile.TemporaryDirectory(prefix="fashion-mnist-") as temporary:
        folder = Path(temporary)
        try:
            print(f"Downloading Fashion-MNIST with Debian's package {DEBIAN_PACKAGE}.", flush=True)
            _apt_download(folder)
            package = next(folder.glob("*.deb"))
            _run(["dpkg-deb", "-x", package.name, "."], folder)
        except SourceUnavailable as reason:
            raise SourceUnavailable(f"Debian's package {DEBIAN_PACKAGE}: {reason}") from reason
        _prepare_from(builder, idx.find(folder / DEBIAN_FOLDER.relative_to("/"))[1])
    return f"Debian's package {DEBIAN_PACKAGE}"


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


def _prepare_from(builder: Any, files: Mapping[idx.Part, Path]) -> None:
    """Lets TFDS prepare its directory from local IDX files, once their content is known to be right."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums

    for part, path in files.items():
        idx.read(path, 3 if part[1] == "images" else 1, SHA256[part])
    print(
        "Preparing Fashion-MNIST for TensorFlow Datasets; this happens once, in about half a minute.",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="tfds-", dir=builder.data_path.parent.parent) as temporary:
        _copy(files, Path(temporary))
        # TFDS knows the hashes of the original .gz files. The content is checked above, so it may
        # take these files at their own hashes.
        for url, info in list(builder.url_infos.items()):
            builder.url_infos[url] = checksums.compute_url_info(Path(temporary) / info.filename)
        builder.download_and_prepare(
            download_dir=Path(temporary) / "downloads",
            download_config=tfds.download.DownloadConfig(manual_dir=temporary),
        )


def _copy(files: Mapping[idx.Part, Path], folder: Path) -> None:
    """Copies the files into `folder` under the compressed names that TFDS looks for."""
    for part, path in files.items():
        content = path.read_bytes()
        compressed = content if content.startswith(idx.GZIP) else gzip.compress(content, 1)
        (folder / f"{idx.FILES[part]}.gz").write_bytes(compressed)
