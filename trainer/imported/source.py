"""A model as the file of another trainer describes it: what it takes and gives, and how it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.imported.options import ImportedModelError

COLOURS = (1, 3)
HINTS = {
    "input": "only models that take one image tensor can be served; put what else it takes into the model as constants",
    "output": "detection and other models with several results cannot be served; make a model of the one with class "
    "scores, and save that",
}


@dataclass(frozen=True)
class Source:
    """A model as its file describes it.

    Attributes:
        format: of the file, for people.
        input: the input tensor's shape with the batch dimension; None for an open dimension.
        output: the output tensor's.
        dtype: of the input, such as "float32".
        call: float32 scores (n, units) by the framework that made the model, for an array of `input` and `dtype`.
        parameters: how many the model has; 0 where the file does not state it.
        range: the key in `RANGES` of the pixel values that it takes, where the file tells.
        graph: the same as `call` as a function of TensorFlow's; None for TFLite.
        tracked: what holds the variables of `graph`.
    """

    format: str
    input: tuple[int | None, ...]
    output: tuple[int | None, ...]
    dtype: str
    call: Callable[[np.ndarray], np.ndarray]
    parameters: int
    range: str | None = None
    graph: Callable[[Any], Any] | None = None
    tracked: Any = None

    @property
    def has_channels(self) -> bool:
        """Whether its images have an axis of channels; grey ones may have none."""
        return len(self.input) == 4

    @property
    def channels_first(self) -> bool:
        return self.has_channels and self.input[3] not in COLOURS and self.input[1] in COLOURS

    @property
    def units(self) -> int:
        """How many scores it gives an image."""
        return self.output[1] or 0

    def shape(self, size: tuple[int, int] | None) -> tuple[int, int, int]:
        """Height, width and channels of its images; `size` is that of a model that leaves them open.

        Raises:
            ImportedModelError: they are open and no size was given, or the model has another one.
        """
        sides = self.input[2:] if self.channels_first else self.input[1:3]
        channels = self.input[1 if self.channels_first else 3] if self.has_channels else 1
        if None in sides and size is None:
            raise ImportedModelError(
                "The model takes images of any size: give the one to serve, such as --size 224x224."
            )
        height, width = (side or asked for side, asked in zip(sides, size or (0, 0), strict=True))
        if size not in (None, (height, width)):
            fixed = "x".join(str(side or "any") for side in sides)
            raise ImportedModelError(f"The model takes images of {fixed}: leave --size out, or give that.")
        return height, width, channels or 0


def only(tensors: Any, kind: str, path: Path) -> Any:
    """The one of a model's inputs or outputs, a list; `kind` is a key of `HINTS`.

    Raises:
        ImportedModelError: there are several, or none.
    """
    if len(tensors) == 1:
        return tensors[0]
    raise ImportedModelError(f"{path} has {len(tensors)} {kind}s, and must have one: {HINTS[kind]}.")
