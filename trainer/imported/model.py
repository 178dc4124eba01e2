"""An imported model: its file's own scores, and what is put around them so that raw pixels become probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from trainer.data.cache import parts
from trainer.evaluation.calibration import softmax
from trainer.imported.options import ImportedModelError, ImportOptions
from trainer.imported.preprocessing import OF_COLOUR, RANGES, Preprocessing
from trainer.imported.source import Source

LEAST = 1e-30  # smaller probabilities count as this in logarithms; float32 has none much smaller
NOISE = 4  # images that tell logits from probabilities
SUM = 1e-3  # within which probabilities sum to one; half-precision models miss it by some 1e-4


@dataclass(frozen=True)
class ImportedModel:
    """Takes uint8 images (n, height, width, channels).

    Attributes:
        source: the model as its file describes it.
        preprocessing: what is done to raw pixels before.
        shape: height, width and channels of an image.
        output: what the source gives, "logits" or "probabilities"; of one unit, for the second of two classes.
        temperature: what logits are divided by, as `trainer.evaluation.calibration` has it.
    """

    source: Source
    preprocessing: Preprocessing
    shape: tuple[int, int, int]
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
                f"The file does not tell which pixel values the model takes: pass --range, one of {', '.join(RANGES)}."
            )
        if source.range not in (None, chosen):
            raise ImportedModelError(
                f"The model itself tells that it takes pixel values of {source.range}. Received: --range {chosen}; "
                "leave it out."
            )
        if shape[2] == 1 and (options.bgr or chosen in OF_COLOUR):
            raise ImportedModelError(f"--bgr and the ranges {' and '.join(OF_COLOUR)} are of models that take colours.")
        preprocessing = Preprocessing(chosen, options.bgr, source.channels_first, source.dtype)
        model = cls(source, preprocessing, shape)
        _check_classes(source, options.classes)
        return replace(model, output=model.output_found(options))

    def scores(self, images: np.ndarray) -> np.ndarray:
        """float32 (n, units), what the source gives."""
        return np.concatenate([self._scores(images[part]) for part in parts(len(images), self.shape)])

    def _scores(self, images: np.ndarray) -> np.ndarray:
        prepared = self.preprocessing(np.asarray(images))
        if self.source.input[0] is None:
            return self.source.call(prepared)
        return np.concatenate([self.source.call(each[None]) for each in prepared])

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 (n, classes), before the temperature; logarithms where the source gives probabilities."""
        scores = self.scores(images)
        if self.output == "probabilities":
            scores = np.concatenate([1 - scores, scores], axis=1) if scores.shape[1] == 1 else scores
            return np.log(np.maximum(scores, LEAST))
        return np.concatenate([np.zeros_like(scores), scores], axis=1) if scores.shape[1] == 1 else scores

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float64 (n, classes), as served."""
        return softmax(self.logits(images), self.temperature)

    def before(self, images: tf.Tensor) -> tf.Tensor:
        """float32 raw pixels (n, *shape) as the source takes them, in the graph."""
        scaled = self.preprocessing.scaled(images)
        if self.preprocessing.channels_first:
            scaled = tf.transpose(scaled, [0, 3, 1, 2])
        return tf.cast(scaled, self.preprocessing.dtype)

    def after(self, scores: tf.Tensor) -> tf.Tensor:
        """Probabilities float32 (n, classes) from what the source gives, in the graph."""
        one = scores.shape[1] == 1
        if self.output == "probabilities":
            scores = tf.concat([1 - scores, scores], 1) if one else scores
            if self.temperature == 1:
                return scores
            logits = tf.math.log(tf.maximum(scores, LEAST))
        else:
            logits = tf.concat([tf.zeros_like(scores), scores], 1) if one else scores
        return tf.nn.softmax(logits / self.temperature if self.temperature != 1 else logits)

    def output_found(self, options: ImportOptions) -> str:
        """What the source gives: told, or found out on images of noise."""
        noise = np.random.default_rng(0).integers(0, 256, (NOISE, *self.shape), np.uint8)
        scores = self.scores(noise)
        if not np.isfinite(scores).all():
            raise ImportedModelError(f"The model must give finite numbers. Received: {scores.ravel()[:5].tolist()}.")
        within = bool((scores >= -SUM).all() and (scores <= 1 + SUM).all())
        sums = self.source.units == 1 or np.allclose(scores.sum(axis=1), 1, atol=SUM)
        if options.output:
            if options.output == "probabilities" and not (within and sums):
                raise ImportedModelError("The model gives no probabilities that sum to 1: pass --output logits.")
            return options.output
        if within and not sums:
            raise ImportedModelError(
                "The model's scores lie between 0 and 1 and do not sum to 1. If they are one sigmoid a class, several "
                "classes may hold at once, which cannot be served; if they are logits, pass --output logits."
            )
        return "probabilities" if within else "logits"


def _check_classes(source: Source, classes: tuple[str, ...]) -> None:
    wanted = 2 if source.units == 1 else source.units
    if len(classes) != wanted:
        what = "name the missing ones" if len(classes) < wanted else "leave out what is too much"
        raise ImportedModelError(
            f"The model gives {source.units} scores, so --classes must name {wanted} classes, in the order of its "
            f"outputs. Received: {len(classes)} ({classes[0]} ... {classes[-1]}); {what}."
        )
