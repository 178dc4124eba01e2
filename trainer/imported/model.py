"""An imported model: its file's own scores, and what is put around them so that raw pixels become probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from registry.text import first_line
from trainer.data.cache import parts
from trainer.evaluation.calibration import softmax
from trainer.imported.options import ImportedModelError, ImportOptions
from trainer.imported.preprocessing import OF_COLOUR, RANGES, scaled
from trainer.imported.source import Source

LEAST = 1e-30  # smaller probabilities count as this in logarithms; float32 has none much smaller
NOISE = 4  # images that tell logits from probabilities
SUM = 1e-3  # within which probabilities sum to one; half-precision models miss it by some 1e-4


@dataclass(frozen=True)
class ImportedModel:
    """Takes uint8 images (n, height, width, channels).

    Attributes:
        source: the model as its file describes it.
        shape: height, width and channels of an image.
        range: the key in `RANGES` of the pixel values that the source takes.
        bgr: whether it takes blue, green and red in this order, whatever the range.
        output: what the source gives, "logits" or "probabilities"; of one unit, for the second of two classes.
        temperature: what logits are divided by, as `trainer.evaluation.calibration` has it.
    """

    source: Source
    shape: tuple[int, int, int]
    range: str
    bgr: bool = False
    output: str = "logits"
    temperature: float = 1.0

    @classmethod
    def of(cls, source: Source, options: ImportOptions) -> ImportedModel:
        """The model with what the options tell.

        Raises:
            ImportedModelError: the file and the options do not tell enough, or contradict each other.
        """
        shape = source.shape(options.size)
        chosen = options.range or source.range
        if chosen is None:
            raise ImportedModelError(
                f"The file does not state which pixel values the model takes: pass --range, one of {', '.join(RANGES)}."
            )
        if source.range not in (None, chosen):
            raise ImportedModelError(
                f"The model itself tells that it takes pixel values of {source.range}. Received: --range {chosen}; "
                "leave it out."
            )
        if shape[2] == 1 and (options.bgr or chosen in OF_COLOUR):
            received = "--bgr" if options.bgr else f"--range {chosen}"
            raise ImportedModelError(f"{received} is for models that take colours, and this one takes grey images.")
        _check_classes(source, options.classes)
        model = cls(source, shape, chosen, options.bgr)
        return replace(model, output=_output(model, options.output))

    def __str__(self) -> str:
        return f"a {self.source.format} model of {' x '.join(map(str, self.shape))} that gives {self.output}"

    @property
    def reverses(self) -> bool:
        """Whether red and blue change places."""
        return self.bgr or self.range == "caffe"

    def before(self, images: tf.Tensor) -> tf.Tensor:
        """Raw pixels, float32 (n, *shape), as the source takes them."""
        images = scaled(images[..., ::-1] if self.reverses else images, self.range)
        if self.source.channels_first:
            images = tf.transpose(images, [0, 3, 1, 2])
        elif not self.source.has_channels:
            images = images[..., 0]
        return tf.cast(images, self.source.dtype)

    def after(self, scores: tf.Tensor) -> tf.Tensor:
        """Probabilities float32 (n, classes) of what the source gives."""
        return tf.nn.softmax(self._logits(scores) / self.temperature)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 (n, classes), before the temperature; logarithms where the source gives probabilities."""
        return self._logits(tf.constant(self.scores(images))).numpy()

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float64 (n, classes), as served."""
        return softmax(self.logits(images), self.temperature)

    def _logits(self, scores: tf.Tensor) -> tf.Tensor:
        certain = self.output == "probabilities"
        if scores.shape[1] == 1:
            scores = tf.concat([1 - scores if certain else tf.zeros_like(scores), scores], 1)
        return tf.math.log(tf.maximum(scores, LEAST)) if certain else scores

    def scores(self, images: np.ndarray) -> np.ndarray:
        """float32 (n, units), what the source gives for as many images at once as it takes and memory has."""
        one = self.source.input[0] == 1
        chosen = [slice(at, at + 1) for at in range(len(images))] if one else parts(len(images), self.shape)
        prepared = (self.before(tf.constant(images[part], tf.float32)).numpy() for part in chosen)
        return np.concatenate([self.source.call(each) for each in prepared])


def _check_classes(source: Source, classes: tuple[str, ...]) -> None:
    expected = 2 if source.units == 1 else source.units
    if len(classes) != expected:
        scores = "one score, that of the second class" if source.units == 1 else f"{source.units} scores"
        what = "name the missing ones" if len(classes) < expected else "remove the surplus names"
        raise ImportedModelError(
            f"The model gives {scores}, so --classes must name {expected} classes, in the order of its outputs. "
            f"Received: {len(classes)} ({classes[0]} ... {classes[-1]}); {what}."
        )


def _output(model: ImportedModel, stated: str | None) -> str:
    """What the source gives: as the options state it, or found out on images of noise."""
    try:
        scores = model.scores(np.random.default_rng(0).integers(0, 256, (NOISE, *model.shape), np.uint8))
    except Exception as error:  # each framework has errors of its own
        raise ImportedModelError(f"The model fails on {NOISE} images of noise: {first_line(error)}") from error
    if not np.isfinite(scores).all():
        raise ImportedModelError(f"The model must give finite numbers. Received: {scores.ravel()[:5].tolist()}.")
    within = bool((scores >= -SUM).all() and (scores <= 1 + SUM).all())
    sums = model.source.units == 1 or np.allclose(scores.sum(axis=1), 1, atol=SUM)
    if stated == "probabilities" and not (within and sums):
        raise ImportedModelError("The model gives no probabilities that sum to 1: pass --output logits.")
    if stated is None and within and model.source.units == 1:
        raise ImportedModelError(
            "The model gives one score between 0 and 1, which may be a probability or a logit: pass --output "
            "probabilities if it ends in a sigmoid, else --output logits."
        )
    if stated is None and within and not sums:
        raise ImportedModelError(
            "The model's scores lie between 0 and 1 and do not sum to 1. If they are one sigmoid a class, several "
            "classes may hold at once, which cannot be served; if they are logits, pass --output logits."
        )
    return stated or ("probabilities" if within else "logits")
