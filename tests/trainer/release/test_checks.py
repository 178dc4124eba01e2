"""Each check of the gate refuses what it is there for, by its number and in a sentence, and lets the rest pass."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from registry.card import ModelCard, TensorSpec
from trainer.evaluation.calibration import calibration
from trainer.evaluation.intervals import wilson_interval
from trainer.evaluation.metrics import Evaluation
from trainer.evaluation.robustness import Robustness
from trainer.release import checks
from trainer.release.checks import Check, Verdict
from trainer.release.significance import binomial_tail
from trainer.release.thresholds import Thresholds

pytestmark = pytest.mark.tensorflow

CLASSES = ("Bag", "Coat", "Shirt", "Trouser")
PLAIN = Thresholds(accuracy_drop=0.0, recall_drop=0.0)


def evaluation(recall: list[float], images: int = 250, confidence: float = 0.8) -> Evaluation:
    """Of a model that finds these shares of each class, takes the rest for the next class, and is so confident."""
    count = len(recall)
    labels = np.repeat(np.arange(count), images)
    place = np.tile(np.arange(images), count)
    predicted = np.where(place < np.repeat(recall, images) * images, labels, (labels + 1) % count)
    others = (1 - confidence) / (count - 1)
    logits = np.log(np.where(np.eye(count)[predicted] > 0, confidence, others))
    confusion = np.zeros((count, count), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    right = int(np.trace(confusion))
    measured = calibration(logits, labels)
    return Evaluation(
        right / len(labels), wilson_interval(right, len(labels)), confusion, logits, 1.0, measured, measured
    )


def answers(share: float, images: int = 2000) -> np.ndarray:
    return np.arange(images) < share * images


def test_the_floor_is_held_against_the_low_end_of_the_interval() -> None:
    measured = evaluation([0.8] * 4)
    assert checks.accuracy_floor(measured, Thresholds(accuracy_floor=0.77)).passed
    refused = checks.accuracy_floor(measured, Thresholds(accuracy_floor=0.78))
    assert not refused.passed
    assert refused.value == pytest.approx(0.7741, abs=1e-4)
    assert refused.sentence == (
        "Accuracy on 1,000 test images is 0.8000 (0.7741 to 0.8236), not significantly above the floor, 0.7800: "
        "too few images to tell; 806 of 1,000 images classified correctly (0.7803 to 0.8293) would be."
    )


def test_without_a_floor_a_model_must_beat_guessing() -> None:
    refused = checks.accuracy_floor(evaluation([0.25] * 4), Thresholds())
    assert (refused.passed, refused.threshold) == (False, 0.25)
    assert "not significantly above what guessing gets, 0.2500" in refused.sentence
    assert checks.accuracy_floor(evaluation([0.4] * 4), Thresholds()).passed


def test_a_refusal_says_what_would_have_passed_on_as_many_images() -> None:
    refused = checks.accuracy_floor(evaluation([0.75, 0.5, 0.5], images=4), Thresholds())
    assert refused.sentence.endswith(
        "0.3333: too few images to tell; 8 of 12 images classified correctly (0.3906 to 0.8619) would be."
    )
    assert checks.accuracy_floor(evaluation([0.75, 0.75, 0.5], images=4), Thresholds()).passed
    hopeless = checks.accuracy_floor(evaluation([1.0, 1.0], images=1), Thresholds())
    assert hopeless.sentence.endswith("0.5000: too few images to tell; on so few, even 100 % would not be.")


def test_a_model_that_finds_a_rare_class_beats_guessing_and_one_that_always_guesses_does_not() -> None:
    rare = np.array([[99, 1], [1, 3]])
    assert checks.accuracy_floor(replace(evaluation([1.0, 1.0]), confusion=rare), Thresholds()).passed
    never = np.array([[100, 0], [4, 0]])
    refused = checks.accuracy_floor(replace(evaluation([1.0, 1.0]), confusion=never), Thresholds())
    assert refused.sentence.startswith("The mean recall of the classes on 104 test images is 0.5000 (")
    assert refused.sentence.endswith("not significantly above what guessing gets, 0.5000; more than 0.7498 would be.")


def test_a_class_that_is_lost_is_named() -> None:
    assert checks.recall_floor(evaluation([0.9, 0.9, 0.25, 0.9]), CLASSES, Thresholds()).passed
    refused = checks.recall_floor(evaluation([0.9, 0.9, 0.0, 0.9]), CLASSES, Thresholds())
    assert not refused.passed
    assert refused.value == 0
    assert refused.sentence == "Recall is significantly below the floor of 0.2500 for Shirt (0 of 250 images)."


def test_too_few_images_of_a_class_prove_nothing() -> None:
    few = evaluation([1.0, 1.0, 0.0, 1.0], images=5)
    check = checks.recall_floor(few, CLASSES, Thresholds())
    assert check.passed
    assert check.sentence == (
        "The lowest recall is 0.0000, of Shirt (0 of 5 images): too few images to tell whether it is below the floor "
        "of 0.2500."
    )


def test_one_of_several_classes_below_the_floor_by_chance_is_none_that_is_lost() -> None:
    # 46 of 250 found: alone, a chance of 0.009 for a class at the floor; that one of four is so low, 0.036.
    assert 0.005 < binomial_tail(46, 250, 0.25) < 0.02
    assert checks.recall_floor(evaluation([0.9, 0.9, 46 / 250, 0.9]), CLASSES, Thresholds()).passed


def test_confidence_that_does_not_fit_is_refused() -> None:
    assert checks.calibration_bound(evaluation([0.8] * 4), Thresholds()).passed
    refused = checks.calibration_bound(evaluation([0.8] * 4, confidence=0.9), Thresholds())
    assert not refused.passed
    assert refused.value == pytest.approx(0.1)
    assert refused.threshold == pytest.approx(0.03 + 2.58 * (0.09 / 1000) ** 0.5, rel=0.1)
    assert "The expected calibration error is 0.1000 at temperature 1.000, above the bound" in refused.sentence


def test_worse_on_the_same_images_is_refused_with_the_images_counted() -> None:
    old = answers(0.9)
    new = old.copy()
    new[:60], new[-20:] = False, True
    refused = checks.accuracy_kept(new, old, PLAIN)
    assert not refused.passed
    assert refused.sentence == (
        "Accuracy is 0.0200 lower than the served version's (bootstrap interval of the difference -0.0290 to "
        "-0.0115): 20 images are classified correctly only by this model, 60 only by that one; significantly worse "
        "(exact McNemar p 4e-06)."
    )
    assert checks.accuracy_kept(old, new, PLAIN).passed
    assert checks.accuracy_kept(new, old, Thresholds(accuracy_drop=0.02)).passed


def test_an_equal_model_that_errs_on_other_images_passes() -> None:
    old = answers(0.9)
    new = np.roll(old, 100)
    check = checks.accuracy_kept(new, old, PLAIN)
    assert check.passed
    assert "Accuracy is the same as the served version's" in check.sentence
    assert check.sentence.endswith(": 100 images are classified correctly only by this model, 100 only by that one.")
    assert checks.accuracy_kept(old, old, PLAIN).value == 1


def test_one_class_that_got_worse_is_named_even_if_the_rest_makes_up_for_it() -> None:
    labels = np.repeat(np.arange(4), 500)
    old = np.tile(np.arange(500) < 400, 4)
    new = old | True
    new[1000:1500] = np.arange(500) < 300
    assert checks.accuracy_kept(new, old, PLAIN).passed
    refused = checks.recall_kept(new, old, labels, CLASSES, Thresholds())
    assert not refused.passed
    assert "worse by significantly more than 0.05 than the served version's for Shirt (-0.2000" in refused.sentence
    passed = checks.recall_kept(new, old, labels, CLASSES, Thresholds(recall_drop=0.2))
    assert passed.passed
    assert passed.sentence.startswith("Recall fell most for Shirt (-0.2000, p ")
    assert passed.sentence.endswith(": within the 0.2 that counts as equal.")
    few = checks.recall_kept(new[::50], old[::50], labels[::50], CLASSES, Thresholds())
    assert few.sentence.endswith(": too few images to tell whether the loss exceeds 0.05.")


def test_a_small_loss_of_one_class_of_many_is_chance() -> None:
    labels = np.repeat(np.arange(4), 500)
    old = np.tile(np.arange(500) < 400, 4)
    new = old.copy()
    new[np.argwhere(labels == 1)[:7]] = False  # 7 lost, none won: p = 0.008, four times that for four classes
    assert checks.recall_kept(new, old, labels, CLASSES, PLAIN).passed
    new[np.argwhere(labels == 1)[:12]] = False
    assert not checks.recall_kept(new, old, labels, CLASSES, PLAIN).passed


def test_robustness_may_fall_by_the_bound_and_no_more() -> None:
    kinds = (("noise", 8.0), ("blur", 1.0))
    old = Robustness(kinds, np.stack([answers(0.8), answers(0.8)]))
    worse = Robustness(kinds, np.stack([answers(0.8), answers(0.6)]))
    refused = checks.robustness_kept(worse, old, Thresholds(robustness_drop=0.08))
    assert not refused.passed
    assert refused.value == pytest.approx(-0.1)
    assert "Accuracy on corrupted images is 0.7000, 0.1000 lower than the served version's (" in refused.sentence
    assert checks.robustness_kept(worse, old, Thresholds(robustness_drop=0.1)).passed


def test_robustness_is_held_to_the_level_of_a_one_sided_test() -> None:
    # 82 of 2,000 images lost: 0.041, whose chance at a true loss of 0.03 is 0.006, between the level and half of it.
    kinds = (("noise", 8.0),)
    old = np.ones((1, 2000), bool)
    new = old.copy()
    new[0, :82] = False
    refused = checks.robustness_kept(Robustness(kinds, new), Robustness(kinds, old), Thresholds())
    assert not refused.passed


CARD = ModelCard(
    name="clothes",
    run="20260131-120000-basic",
    created="2026-01-31T12:00:00+00:00",
    classes=CLASSES,
    input=TensorSpec("images", (28, 28, 1), "float32"),
    output=TensorSpec("probabilities", (4,), "float32"),
    data={"dataset": "clothes", "sha256": "ab" * 32},
    config={},
    metrics={},
    libraries={},
    commit=None,
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"classes": CLASSES[::-1]}, "classes ('Trouser', 'Shirt', 'Coat', 'Bag') instead of ('Bag', "),
        ({"input": TensorSpec("images", (32, 32, 3), "float32")}, "input TensorSpec(name='images', shape=(32, 32, 3)"),
    ],
)
def test_data_of_another_kind_is_refused(change: dict[str, Any], expected: str) -> None:
    refused = checks.same_kind(replace(CARD, **change), CARD)
    assert not refused.passed
    assert expected in refused.sentence


def test_more_images_of_the_same_kind_are_welcome() -> None:
    check = checks.same_kind(replace(CARD, data={"dataset": "clothes", "sha256": "cd" * 32}), CARD)
    assert check.passed
    assert "has other images" in check.sentence


def test_a_verdict_is_a_refusal_as_soon_as_one_check_fails_and_the_card_can_hold_it() -> None:
    good, bad = Check("one", True, 1.0, 0.5, "It is good."), Check("two", False, None, None, "It is bad.")
    assert Verdict(Thresholds(), (good,)).accepted
    refused = Verdict(Thresholds(), (good, bad), against=3, forced="why not", forced_by="ada")
    assert not refused.accepted
    assert refused.reasons == ["It is bad."]
    told = replace(CARD, verdict=refused.to_json()).verdict
    assert told is not None
    assert (told["accepted"], told["forced"], told["forced_by"], told["against"]) == (False, "why not", "ada", 3)
    assert told["thresholds"]["calibration_error"] == 0.03
    assert told["checks"][1]["sentence"] == "It is bad."
