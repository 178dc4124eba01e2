"""Whether the range of pixel values that was stated is the model's own, by what the model says of pictures.

On labelled pictures, another range must not classify significantly more of them correctly. Without labels, two mistakes
are seen: values too small, where all pictures get nearly the same answer, and too large, where every answer is certain
beyond what training teaches. -1-1 and 0-1 may be too alike to tell apart so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.data.dataset import Split
from trainer.imported.model import ImportedModel
from trainer.imported.options import ImportedModelError
from trainer.imported.preprocessing import OF_COLOUR, RANGES
from trainer.release.significance import mcnemar, won_and_lost

LEVEL = 0.01  # significance at which another range counts as better
# Between the logits of the best and the second class, in the median picture. A trained classifier has some 2 to 15 on
# pictures like those that it was trained on; a factor of 255 in the input brings hundreds, or hundredths.
CERTAIN, USUAL, UNDECIDED = 50.0, 1.0, 0.2


def check(model: ImportedModel, pictures: Split) -> str:
    """What was found, in a sentence.

    Args:
        pictures: labelled, or with labels of -1.

    Raises:
        ImportedModelError: the range is wrong, as far as that can be seen.
    """
    names = [name for name in RANGES if model.shape[2] == 3 or name not in OF_COLOUR]
    logits = {name: replace(model, range=name).logits(pictures.images) for name in names}
    if pictures.labels.min() >= 0:
        return _by_labels(model, {name: each.argmax(axis=1) == pictures.labels for name, each in logits.items()})
    return _by_certainty(model, logits)


def _by_labels(model: ImportedModel, right: dict[str, np.ndarray]) -> str:
    stated, count = model.range, len(right[model.range])
    best = max(right, key=lambda name: (right[name].mean(), name == stated))
    found = f"{right[stated].sum()} of {count} pictures are classified correctly with pixel values of {stated}"
    if best != stated and mcnemar(*won_and_lost(right[stated], right[best])) < LEVEL:
        raise _wrong(stated, best, f"{found}, and {right[best].sum()} with {best}")
    return f"{found}, and no other range does significantly better."


def _by_certainty(model: ImportedModel, logits: dict[str, np.ndarray]) -> str:
    stated = model.range
    margins = {name: float(np.median(np.diff(np.sort(each, axis=1)[:, -2:]))) for name, each in logits.items()}
    usual = [name for name, margin in margins.items() if USUAL <= margin <= CERTAIN]
    if usual and not UNDECIDED <= margins[stated] <= CERTAIN:
        best = max(usual, key=lambda name: margins[name])
        how = "certain of every picture" if margins[stated] > CERTAIN else "undecided about every picture"
        raise _wrong(stated, best, f"the model is {how} with pixel values of {stated}, and not with {best}")
    return (
        f"With pixel values of {stated}, the best class's logit is {margins[stated]:.2g} above the second in the "
        "median picture. Without labels, that is all that tells whether the range is right."
    )


def _wrong(stated: str, best: str, found: str) -> ImportedModelError:
    return ImportedModelError(
        f"--range {stated} seems wrong: {found}. Import it with --range {best}, or, if you know better, with --force "
        "--reason TEXT."
    )
