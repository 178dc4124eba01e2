"""The gate's verdict on one trained model: its checks, made on the test images and on the served version."""

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
from trainer.release.exported import SavedModelError, loaded
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
    found = [
        checks.accuracy_floor(evaluation, thresholds),
        checks.recall_floor(evaluation, dataset.classes, thresholds),
        checks.calibration_bound(evaluation, thresholds),
    ]
    if (served := store.served()) is not None:
        try:
            found += _against(served, card, evaluation, robust, dataset, store, thresholds)
        except (RegistryError, CardError, SavedModelError) as error:
            sentence = f"Version {served}, which is served, cannot be compared with: {error}"
            found.append(Check("served_version", False, None, None, sentence))
    return Verdict(thresholds, (*found, served_live), served)


def _against(
    served: int,
    card: ModelCard,
    evaluation: Evaluation,
    robust: Robustness,
    dataset: ImageDataset,
    store: ModelStore,
    thresholds: Thresholds,
) -> list[Check]:
    """The checks against the version `served`."""
    kind = checks.same_kind(card, store.card(served))
    if not kind.passed:  # a model of another kind cannot predict these images
        return [kind]
    model, labels = loaded(store.path(served)), np.asarray(dataset.test.labels)
    new, old = evaluation.predicted == labels, model.predict(dataset.test.images).argmax(axis=1) == labels
    old_robust = robustness(model, dataset.test, most=robust.right.shape[1])
    return [
        kind,
        checks.accuracy_kept(new, old, thresholds),
        checks.recall_kept(new, old, labels, dataset.classes, thresholds),
        checks.robustness_kept(robust, old_robust, thresholds),
    ]
