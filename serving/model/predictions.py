"""What a prediction says of each image: label, probabilities, and whether the image is like the training images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.images.files import PIXELS, Batch, Source
from serving.model.assets import Familiar

TOP = 3
BLANK = "Every pixel has the same shade: there is nothing to see on it."


def predictions(
    batch: Batch, probabilities: NDArray[np.float32], classes: tuple[str, ...], familiar: Familiar | None
) -> list[dict[str, Any]]:
    """Describe the model's answer for each image of a batch.

    Args:
        batch: the images, and where they came from.
        probabilities: of shape (n, classes).
        classes: their names.
        familiar: scores how far an image is from the training images; None where the version cannot tell.

    Returns:
        For each image: label, index and probability of the best class, the TOP best classes, and all probabilities,
        rounded to six places; `in_distribution` and `distribution_score` where they are known; `file`, `converted`,
        `preprocessing` and `note` where there is something to say.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP].tolist()
    rounded = np.round(probabilities.astype(np.float64), 6).tolist()
    found = [_prediction(*each, classes) for each in zip(rounded, best, batch.sources, strict=True)]
    if familiar:
        for each, score in zip(found, familiar.scores(batch.images), strict=True):
            each["in_distribution"] = score <= 1
            each["distribution_score"] = score
    pixels = batch.images.reshape(len(found), -1)
    for index in np.flatnonzero((pixels == pixels[:, :1]).all(axis=1)).tolist():
        found[index]["note"] = BLANK
    return found


def _prediction(
    probabilities: list[float], best: list[int], source: Source, classes: tuple[str, ...]
) -> dict[str, Any]:
    prediction = {
        "label": classes[best[0]],
        "index": best[0],
        "probability": probabilities[best[0]],
        "top": [{"label": classes[index], "probability": probabilities[index]} for index in best],
        "probabilities": dict(zip(classes, probabilities, strict=True)),
    }
    if source is not PIXELS:
        notes = {"file": source.file, "converted": source.converted, "preprocessing": source.preprocessing}
        prediction |= {key: note for key, note in notes.items() if note}
    return prediction
