"""What a prediction says of each image: label, probabilities, and whether the image is like the training images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.images.files import PIXELS, Batch, Source
from serving.images.pixels import Images
from serving.model.assets import NoveltyScore

TOP = 3
FEW = 64  # probabilities; plain Python sorts so many sooner than numpy's calls take
BLANK = "Every pixel has the same shade: there is nothing to see on it."


def predictions(
    batch: Batch, probabilities: NDArray[np.float32], classes: tuple[str, ...], novelty: NoveltyScore | None
) -> list[dict[str, Any]]:
    """Describe the model's answer for each image of a batch.

    Args:
        batch: the images, and where they came from.
        probabilities: of shape (n, classes).
        classes: their names.
        novelty: scores how far an image is from the training images; None where the version cannot tell.

    Returns:
        For each image: label, index and probability of the best class, the TOP best classes, and all probabilities,
        rounded to six places; `in_distribution` and `distribution_score` where they are known; `file`, `converted`,
        `preprocessing` and `note` where there is something to say.
    """
    if probabilities.size <= FEW:
        best = [sorted(range(len(row)), key=row.__getitem__, reverse=True)[:TOP] for row in probabilities.tolist()]
    else:
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP].tolist()
    # np.round would take three times as long for a few numbers.
    rounded = (np.rint(probabilities * np.float64(1e6)) / 1e6).tolist()
    scores = novelty.scores(batch.images) if novelty else [None] * len(rounded)
    return [
        _prediction(*each, classes) for each in zip(rounded, best, scores, batch.images, batch.sources, strict=True)
    ]


def _prediction(
    probabilities: list[float],
    best: list[int],
    score: float | None,
    image: Images,
    source: Source,
    classes: tuple[str, ...],
) -> dict[str, Any]:
    prediction: dict[str, Any] = {
        "label": classes[best[0]],
        "index": best[0],
        "probability": probabilities[best[0]],
        "top": [{"label": classes[index], "probability": probabilities[index]} for index in best],
        "probabilities": dict(zip(classes, probabilities, strict=True)),
    }
    if source is not PIXELS:
        notes = {"file": source.file, "converted": source.converted, "preprocessing": source.preprocessing}
        prediction |= {key: note for key, note in notes.items() if note}
    if score is not None:
        prediction |= {"in_distribution": score <= 1, "distribution_score": score}
    pixels = image.tobytes()
    if pixels == pixels[:1] * len(pixels):
        prediction["note"] = BLANK
    return prediction
