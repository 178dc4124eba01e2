"""The command line of the import, and what it asks for where the model's file does not state it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.names import RULE, is_name, normalized
from trainer.data.dataset import class_names
from trainer.imported.preprocessing import RANGES
from trainer.options import Parser, add_gate_options, forced
from trainer.release.thresholds import parse

OUTPUTS = ("logits", "probabilities")


class ImportedModelError(ValueError):
    """A model that cannot be imported, or not with these options; the message says what to do."""


@dataclass(frozen=True)
class ImportOptions:
    """What is imported, and what its file may not tell.

    Attributes:
        path: a .keras or .h5 file, the directory of a SavedModel, or a .tflite file.
        classes: the class names; class i is output unit i.
        name: what the model is called when served.
        artifacts: the directory of models and decoded pictures.
        range: the key in `RANGES` of the pixel values that the model takes; None: read from the file.
        bgr: whether it takes blue, green and red in this order.
        output: what it gives, one of `OUTPUTS`; None: found out by calling it.
        size: height and width, for a model that leaves them open.
        signature: which one of a SavedModel's is called; None: its only one, or `serving_default`.
        samples: a folder of pictures on which the range is checked, perhaps in a folder for each class.
        test: `folder:PATH` of labelled pictures that judge the model.
        overrides: thresholds of the gate by name.
        reason: why a refused model is to be pushed nevertheless; None pushes accepted ones only.
    """

    path: Path
    classes: tuple[str, ...]
    name: str
    artifacts: Path
    range: str | None = None
    bgr: bool = False
    output: str | None = None
    size: tuple[int, int] | None = None
    signature: str | None = None
    samples: Path | None = None
    test: Path | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None


def parser() -> argparse.ArgumentParser:
    """The options of `import PATH`."""
    options = Parser(
        prog="python -m trainer import",
        description="Push an image classifier that another trainer made, so that the service serves it: a .keras file, "
        "the directory of a SavedModel, or a .tflite file that takes one image tensor and gives class scores.",
    )
    add = options.add_argument
    add("path", type=Path, metavar="PATH", help="a .keras file, the directory of a SavedModel, or a .tflite file")
    add("--classes", required=True, type=Path, metavar="FILE", help="class names, one per line, in the outputs' order")
    add("--name", "--model-name", required=True, metavar="NAME", help="what the model is called when served")
    add("--range", choices=RANGES, help="pixel values that the model takes, if its file does not state them")
    add("--bgr", action="store_true", help="the model takes blue, green, red; without it, red, green, blue")
    add("--output", choices=OUTPUTS, help="what the model returns, if calling it does not show that")
    add("--size", metavar="HEIGHTxWIDTH", help="of the images, for a model that takes any size")
    add("--signature", metavar="NAME", help="which one of a SavedModel's signatures to call")
    add("--samples", type=Path, metavar="FOLDER", help="pictures to check --range on; best in a folder for each class")
    add("--test", metavar="folder:PATH", help="pictures, a folder for each class, that the model was not trained on")
    add_gate_options(add)
    return options


def parsed(given: Sequence[str]) -> argparse.Namespace:
    """The arguments; argparse would take the range -1-1 for an option."""
    text = re.sub(r"(--range)\0(-1-1)", r"\1=\2", "\0".join(given))
    return parser().parse_args(text.split("\0"))


def import_options(arguments: argparse.Namespace) -> ImportOptions:
    """What is imported.

    Raises:
        ValueError: a name, a size, a threshold or a combination of options that cannot be; class names that are blank
            or repeat.
        OSError: the file of class names cannot be read.
    """
    if not is_name(name := normalized(arguments.name)):
        raise ImportedModelError(f"`name` {RULE}. Received: {arguments.name!r}.")
    return ImportOptions(
        classes=_classes(arguments.classes),
        name=name,
        artifacts=Path(arguments.artifacts),
        size=_size(arguments.size),
        test=_folder(arguments.test),
        overrides=parse(arguments.threshold),
        reason=forced(arguments),
        **{each: getattr(arguments, each) for each in ("path", "range", "bgr", "output", "signature", "samples")},
    )


def _classes(file: Path) -> tuple[str, ...]:
    names = class_names(file)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ImportedModelError(f"{file} must name each class once. Received twice: {', '.join(repeated):.200}.")
    if len(names) < 2:
        raise ImportedModelError(f"{file} must name at least two classes, one per line. Received: {len(names)}.")
    return names


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    if (match := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text, re.ASCII)) is None:
        raise ImportedModelError(f"`--size` must be HEIGHTxWIDTH in pixels, such as 224x224. Received: {text}.")
    return int(match[1]), int(match[2])


def _folder(text: str | None) -> Path | None:
    if text is None:
        return None
    kind, _, path = text.partition(":")
    if kind != "folder" or not path:
        raise ImportedModelError(f"`--test` must be folder:PATH. Received: {text}.")
    return Path(path).expanduser()
