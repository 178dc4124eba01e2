"""Bulk inference without a server: python -m serving.predict PATH... [--out predictions.csv].

Classifies image files, folders of them, IDX files and .npy arrays with the served version, as POST /predict would.
MODELS, MODEL_NAME, RUNTIME and the limits of image files are read from the environment, as by the service.
"""

import argparse
import csv
import gzip
import json
import os
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from registry.errors import RegistryError
from serving.errors import ServiceError
from serving.images.files import Batch, Source, from_files
from serving.model.assets import Extras
from serving.model.follow import Follower
from serving.model.predictions import predictions
from serving.model.runtimes import loader
from serving.model.served import ModelError, Predictor, Served, find
from serving.settings import Settings, SettingsError

BATCH = 64  # images of one model run
IDX_IMAGES = b"\0\0\x08\x03"  # how an IDX file of uint8 images begins
FORMATS = (".csv", ".jsonl", ".parquet")
FIRST = ("file", "label", "probability", "in_distribution", "distribution_score", "error")  # columns of a table

Row = dict[str, Any]
Item = tuple[str, Path | NDArray[np.uint8]]  # its name in the output, and a file or pixels


class InputError(ValueError):
    """Something on the command line cannot be used; the message names it, what was expected and what came."""


def main() -> None:
    """Write a row for each image; exit with status 2 and one line on stderr where that cannot begin."""
    options = _options()
    try:
        settings = Settings.from_environ(os.environ)
        predictor = _load(settings)
        items = [item for path in options.paths for item in _items(path, predictor.card.input.shape)]
        done = _classify(items, predictor, settings, options.out)
    except (InputError, SettingsError, ModelError, RegistryError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)
    failed = sum("error" in row for row in done)
    print(
        f"Wrote {len(done)} predictions to {options.out}" + (f"; {failed} files could not be read." if failed else ".")
    )


def _load(settings: Settings) -> Predictor:
    """The version that a service would serve. Raises ModelError where there is none."""
    served = Served()
    Follower(served, partial(find, settings), loader(settings)).look()
    if not served.ready:
        raise ModelError(served.trouble or "; ".join(served.failures.values()))
    return served.predictor()


def _items(path: Path, shape: tuple[int, ...]) -> list[Item]:
    """What a path of the command line stands for."""
    if path.is_dir():
        return [(str(file), file) for file in sorted(path.rglob("*")) if file.is_file() and file.name[0] != "."]
    if not path.is_file():
        raise InputError(f"each PATH must be a file or a folder. Received: {path}")
    array = _array(path)
    if array is None:
        return [(str(path), path)]
    known = [shape, shape[:2]] if shape[2] == 1 else [shape]
    if array.dtype != np.uint8 or array.shape[1:] not in known:
        wanted = " x ".join(map(str, shape))
        raise InputError(f"{path} must hold uint8 images of {wanted}. Received: {array.dtype} of {array.shape}.")
    return [(f"{path}[{index}]", image) for index, image in enumerate(array.reshape(-1, *shape))]


def _array(path: Path) -> NDArray[Any] | None:
    """The images of an .npy or IDX file; None for any other file."""
    if path.suffix == ".npy":
        try:
            return np.load(path, mmap_mode="r")
        except ValueError as error:
            raise InputError(f"{path} must be an array without Python objects. Received: {error}.") from None
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        if file.read(4) != IDX_IMAGES:
            return None
        shape = np.frombuffer(file.read(12), ">u4")
        pixels = np.frombuffer(file.read(), np.uint8)
    if len(pixels) != shape.prod():
        raise InputError(f"{path} must hold {' x '.join(map(str, shape))} pixels. Received: {len(pixels)}.")
    return pixels.reshape(shape)


def _classify(items: list[Item], predictor: Predictor, settings: Settings, out: Path) -> list[Row]:
    """Classify what an earlier run left, and write everything to `out`; rows are kept in a file until then."""
    rows_file = out.with_name(f"{out.name}.{predictor.card.name}-{predictor.version}.unfinished")
    rows = _unfinished(rows_file)
    names = {row["file"] for row in rows}
    left = (item for item in items if item[0] not in names)
    extras = Extras(predictor, settings)
    with rows_file.open("ab") as file, tqdm(total=len(items), initial=len(rows), unit=" images", disable=None) as bar:
        while chunk := list(islice(left, BATCH)):
            new = _rows(chunk, predictor, extras, settings)
            file.write(b"".join(json.dumps(row).encode() + b"\n" for row in new))
            file.flush()
            rows += new
            bar.update(len(new))
    _write(rows, predictor.card.classes, out)
    rows_file.unlink()
    return rows


def _unfinished(path: Path) -> list[Row]:
    """The rows of an interrupted run, without a last one that is not whole."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    path.write_bytes(b"".join(whole))
    return [json.loads(line) for line in whole]


def _rows(chunk: Iterable[Item], predictor: Predictor, extras: Extras, settings: Settings) -> list[Row]:
    """One row an item: its prediction, or the reason why it could not be read."""
    shape, look = predictor.card.input.shape, extras.look if settings.preprocess else None
    rows: list[Row] = []
    batches: list[Batch] = []
    for name, content in chunk:
        rows.append({"file": name})
        try:
            if isinstance(content, Path):
                batches.append(from_files([(content.name, content.read_bytes())], shape, settings, look))
            else:
                batches.append(Batch(content[None], (Source(),)))
        except (ServiceError, OSError) as error:
            rows[-1]["error"] = str(error)
    if batches:
        sources = tuple(source for batch in batches for source in batch.sources)
        whole = Batch(np.concatenate([batch.images for batch in batches]), sources)
        found = predictions(whole, predictor.predict(whole.images), predictor.card.classes, extras.familiar)
        answers: Iterator[Row] = iter(found)
        rows = [row if "error" in row else next(answers) | row for row in rows]
    return rows


def _write(rows: list[Row], classes: tuple[str, ...], out: Path) -> None:
    scratch = out.with_name(f"{out.name}.new")
    if out.suffix == ".jsonl":
        scratch.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        table = [{key: row.get(key) for key in FIRST} | row.get("probabilities", {}) for row in rows]
        if out.suffix == ".parquet":
            import pandas as pd

            pd.DataFrame(table, columns=[*FIRST, *classes]).to_parquet(scratch)
        else:
            with scratch.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, [*FIRST, *classes])
                writer.writeheader()
                writer.writerows(table)
    scratch.replace(out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m serving.predict", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="image file, folder, IDX file or .npy array"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help=".csv, .jsonl, or .parquet where pandas is installed"
    )
    options = parser.parse_args()
    if options.out.suffix not in FORMATS:
        parser.error(f"--out must end with {', '.join(FORMATS)}. Received: {options.out}")
    return options


if __name__ == "__main__":
    main()
