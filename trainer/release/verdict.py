"""The gate's verdict on one trained model: its checks, made on the test images and on the version now served."""

from __future__ import annotations

import numpy as np

from registry.card import CardError, ModelCard
from registry.errors import RegistryError
from registry.store import ModelStore
from trainer.data.dataset import ImageDataset
from trainer.evaluation.metrics import Evaluation
from trainer.evaluation.robustness import Robustness, robustness
from trainer.release import checks
from trainer.release.checks import Check, Verdict
from trainer.release.export import SavedModel, SavedModelError
from trainer.release.thresholds import Thresholds


def judge(
    card: ModelCard,
    served_live: Check,
    evaluation: Evaluation,
    robust: Robustness,
    dataset: ImageDataset,
    store: ModelStore,
    thresholds: Thresholds,
) -> Verdict:
    """The gate's verdict on an exported model, all checks made, so that all reasons are known at once.

    Args:
        card: the model's card.
        served_live: the outcome of `trainer.release.live_server` for the export.
        evaluation: of the Keras model on the test images, with the temperature that was exported.
        robust: of the Keras model on the test images.
        store: of the version that it would replace.
    """
    absolute = [
        checks.accuracy_floor(evaluation, thresholds),
        checks.recall_floor(evaluation, dataset.classes, thresholds),
        checks.calibration_bound(evaluation, thresholds),
    ]
    served, compared = _against_served(card, evaluation, robust, dataset, store, thresholds)
    return Verdict(thresholds, (*absolute, *compared, served_live), served)


def _against_served(
    card: ModelCard,
    evaluation: Evaluation,
    robust: Robustness,
    dataset: ImageDataset,
    store: ModelStore,
    thresholds: Thresholds,
) -> tuple[int | None, list[Check]]:
    """The version now served, and the checks against it; none where there is none."""
    served = store.served()
    if served is None:
        return None, []
    try:
        kind = checks.same_kind(card, store.card(served))
        if not kind.passed:  # a model of another kind cannot predict these images
            return served, [kind]
        model = SavedModel(store.path(served))
        guesses = model.predict(dataset.test.images).argmax(axis=1)
        served_robust = robustness(model, dataset.test)
    except (RegistryError, CardError, SavedModelError) as error:
        sentence = f"Version {served}, now served, cannot be compared with: {error}"
        return served, [Check("served_version", False, None, None, sentence)]
    labels = dataset.test.labels
    new, old = evaluation.predicted == labels, guesses == labels
    return served, [
        kind,
        checks.accuracy_kept(new, old, thresholds),
        checks.recall_kept(new, old, np.asarray(labels), dataset.classes, thresholds),
        checks.robustness_kept(robust, served_robust, thresholds),
    ]
