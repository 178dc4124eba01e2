"""Bulk inference without a server: python -m serving.predict PATH... [--out predictions.csv].

Classifies images with the served version as POST /predict would, by the settings that the service reads, too.
"""

import argparse
import csv
import gzip
import json
import os
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain, takewhile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from registry.card import CardError
from registry.errors import RegistryError
from serving.__main__ import check_runtime
from serving.errors import InvalidImageError, ServiceError, TooLargeError
from serving.images.files import Batch, Source, from_files
from serving.model.assets import Assets
from serving.model.follow import Follower
from serving.model.predictions import predictions
from serving.model.runtimes import loader
from serving.model.served import NoModelError, Predictor, Served, find
from serving.settings import Settings, SettingsError

BATCH = 64  # images of one model run
IDX_IMAGES = b"\0\0\x08\x03"  # how an IDX file of uint8 images begins
FORMATS = (".csv", ".jsonl", ".parquet")
ABOUT = (
    "Classify image files without a server, with the model and the settings of `python -m serving` "
    "(MODELS, MODEL_NAME, RUNTIME, ...), and write a row for each image."
)
# Of a table; a column for each class comes after them, and its prefix keeps a class called "file" apart.
COLUMNS = ("file", "error", "label", "probability", "in_distribution", "distribution_score")

Item = tuple[str, Path | NDArray[np.uint8]]  # its name in the output, and a file or pixels


def main() -> None:
    """Write a row for each image; exit with status 2 and one line on stderr where that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m serving.predict", description=ABOUT)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="image, folder, IDX file or .npy array")
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help=f"{', '.join(FORMATS)} [%(default)s]")
    options = parser.parse_args()
    try:
        _check(options.paths, options.out)
        print(_classify(options.paths, options.out, Settings.from_environ(os.environ)))
    except (SettingsError, ServiceError, NoModelError, RegistryError, CardError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted. The same command continues from here.", file=sys.stderr)
        sys.exit(130)


def _check(paths: Sequence[Path], out: Path) -> None:
    """Raises SettingsError for what should not wait until the model has loaded, or the run has ended."""
    if out.suffix not in FORMATS or not out.parent.is_dir():
        raise SettingsError(f"--out must be a .csv, .jsonl or .parquet file in a folder that exists. Received: {out}")
    if out.suffix == ".parquet" and not (find_spec("pandas") and find_spec("pyarrow")):
        raise SettingsError("--out with .parquet needs pandas and pyarrow: install them, or write .csv or .jsonl")
    if missing := [str(path) for path in paths if not path.exists()]:
        raise SettingsError(f"each PATH must be a file or a folder. Received: {', '.join(missing)}")


def _classify(paths: Sequence[Path], out: Path, settings: Settings) -> str:
    """Classify what an interrupted run of the same command left, and return what to tell the user."""
    check_runtime(settings)
    store, served = find(settings), Served()
    Follower(served, lambda: store, loader(settings)).poll()  # it logs why a version is not served
    predictor = served.predictor()
    assets, shape = Assets(predictor, settings), predictor.card.input.shape
    items = [item for path in paths for item in _items(path, shape)]
    if not items:
        raise InvalidImageError(f"There must be at least one image. Received: none in {', '.join(map(str, paths))}.")
    # Hidden, so that a folder of images may hold it; of one version, so that two versions never mix.
    rows_file = out.with_name(f".{out.name}.{store.name}-{predictor.version}.unfinished")
    with rows_file.open("a+b") as file:
        done = _done(file, items)
        for begin in tqdm(range(done, len(items), BATCH), unit=f" x {BATCH} images", disable=None):
            rows = _rows(items[begin : begin + BATCH], predictor, assets, settings)
            file.write(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
            file.flush()
    failed = _publish(rows_file, predictor.card.classes, out)
    errors = f"; {failed} of them could not be read, and `error` says why" if failed else ""
    return f"Wrote {len(items)} rows by version {predictor.version} of {store.name} to {out}{errors}."


def _items(path: Path, shape: tuple[int, ...]) -> list[Item]:
    """What a path of the command line stands for."""
    if path.is_dir():
        return [(str(file), file) for file in sorted(path.rglob("*")) if file.is_file() and file.name[0] != "."]
    try:
        array = np.lib.format.open_memmap(path, mode="r") if path.suffix == ".npy" else _idx(path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidImageError(f"{path} must be a whole .npy array, IDX file or image. Received: {error}.") from None
    if array is None:
        return [(str(path), path)]
    if array.dtype != np.uint8 or array.shape[1:] not in (shape, shape[:2] if shape[2] == 1 else shape):
        wanted = " x ".join(map(str, shape))
        raise InvalidImageError(f"{path} must hold uint8 images of {wanted}. Received: {array.dtype} of {array.shape}.")
    return [(f"{path}[{index}]", image) for index, image in enumerate(array.reshape(-1, *shape))]


def _idx(path: Path) -> NDArray[np.uint8] | None:
    """The images of an IDX file; None for any other file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        if file.read(4) != IDX_IMAGES:
            return None
        shape = np.frombuffer(file.read(12), ">u4", 3)
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


def _done(file: IO[bytes], items: Sequence[Item]) -> int:
    """How many of the first `items` an interrupted run wrote; whatever else is in its file is cut off."""
    file.seek(0)
    lines = zip(file, items, strict=False)
    whole = takewhile(lambda pair: pair[0][-1:] == b"\n" and json.loads(pair[0])["file"] == pair[1][0], lines)
    sizes = [len(line) for line, _ in whole]
    done = len(sizes) // BATCH * BATCH  # in other batches the last decimal place could differ from an unbroken run's
    file.truncate(sum(sizes[:done]))
    return done


def _rows(items: Sequence[Item], predictor: Predictor, assets: Assets, settings: Settings) -> list[dict[str, Any]]:
    """A row for each item: its prediction, or why it could not be read."""
    card, look = predictor.card, assets.look if settings.preprocess else None
    images, sources, errors = np.zeros((len(items), *card.input.shape), np.uint8), [], {}
    for index, (name, content) in enumerate(items):
        source = Source()
        try:
            if isinstance(content, Path):
                if (size := content.stat().st_size) > (most := settings.max_body_bytes):
                    raise TooLargeError(f"{content.name} must have at most {most} bytes. Received: {size}.")
                batch = from_files([(content.name, content.read_bytes())], card.input.shape, settings, look)
                content, source = batch.images[0], batch.sources[0]
            images[index] = content
        except (ServiceError, OSError) as error:
            errors[index] = {"file": name, "error": str(error)}
        sources.append(replace(source, file=name))
    found = predictions(Batch(images, tuple(sources)), predictor.predict(images), card.classes, assets.novelty)
    return [errors.get(index, row) for index, row in enumerate(found)]


def _printable(value: Any) -> Any:
    """Names of files may have bytes that are not UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _publish(rows_file: Path, classes: tuple[str, ...], out: Path) -> int:
    """Turn the file of rows into `out`, by one rename at the end; returns how many rows are errors."""
    with rows_file.open("rb") as lines:
        failed = sum("error" in json.loads(line) for line in lines)
    if out.suffix == ".jsonl":
        rows_file.replace(out)
        return failed
    header = [*COLUMNS, *(f"probability of {name}" for name in classes)]
    scratch = rows_file.with_suffix(".new")
    with rows_file.open("rb") as lines:
        read = map(json.loads, lines)
        rows = (
            [
                *(_printable(row.get(name)) for name in COLUMNS),
                *row.get("probabilities", dict.fromkeys(classes)).values(),
            ]
            for row in read
        )
        if out.suffix == ".parquet":
            import pandas as pd

            pd.DataFrame(rows, columns=header).to_parquet(scratch)
        else:
            with scratch.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(chain([header], rows))
    scratch.replace(out)
    rows_file.unlink()
    return failed


if __name__ == "__main__":
    main()
