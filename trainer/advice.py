"""What a user is told of a data set and its training: before it, and after the gate refused the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from registry.text import counted, table
from trainer.adaptation import FEW_VALIDATION, STEPS, Counts, changes, steps_an_epoch
from trainer.config import AUGMENTATIONS, TrainConfig

if TYPE_CHECKING:  # they import Keras, which `--advise` does without
    from registry.card import ModelCard
    from trainer.data.dataset import ImageDataset
    from trainer.release.checks import Verdict
    from trainer.release.finished import Run
    from trainer.release.thresholds import Thresholds

FITTED = 0.9  # a training accuracy from which on more training changes little
MORE_PICTURES = "of pictures added to a folder without splits of its own, about a fifth become test images"
ONE_CLASS = "Test images of at least two classes are needed: with one class, always predicting it is 100 % correct."


def adaptation(recipe: TrainConfig, config: TrainConfig, counts: Counts) -> str:
    """What differs from the recipe because of the data set's size, a line a setting; empty if nothing does."""
    if not (rows := changes(recipe, config)):
        return ""
    head = f"Adapted to {counted(sum(counts.train), 'training image')} (options that you give are not changed):"
    return "\n  ".join([head, *table(rows).splitlines()])


def before(dataset: ImageDataset, recipe: TrainConfig, configs: Sequence[TrainConfig], thresholds: Thresholds) -> str:
    """What `--advise` prints: the counts, what would be trained, and what the gate's first check would ask for.

    Args:
        recipe: what the first config was adapted from.
        configs: what would be trained.
    """
    counts = Counts.of(dataset)
    images, fewest, most = sum(counts.train), min(counts.train), max(counts.train)
    of_a_class = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    steps = steps_an_epoch(configs[0], images)
    lines = [
        f"{dataset.name}: {counted(len(dataset.classes), 'class', 'classes')}, images of "
        f"{' x '.join(map(str, dataset.shape))}; {images:,} train ({of_a_class} of a class), "
        f"{counts.validation:,} validate, {sum(counts.test):,} test.",
        adaptation(recipe, configs[0], counts),
        *(f"Would train {config}." for config in configs),
        f"An epoch has {counted(steps, 'step')}, the training at most {steps * configs[0].epochs:,}.",
        _to_pass(counts, thresholds),
        "Nothing was trained, because of --advise.",
    ]
    return "\n".join(line for line in lines if line)


def _to_pass(counts: Counts, thresholds: Thresholds) -> str:
    best, floor = thresholds.share(counts.test, counts.test)
    if best.needed(floor) < 1:
        what = "" if best.is_plain else " as mean recall of the classes"
        return f"To be significantly above {floor:.4f} on the test images, the gate needs {best.passing(floor)}{what}."
    if best.value == floor:
        return ONE_CLASS
    return (
        f"Too few test images: even if all {best.images:,} were classified correctly, the gate could not tell that the "
        f"model is above {floor:.4f}. At least {best.images_needed(floor):,} are needed; {MORE_PICTURES}."
    )


def after(run: Run, card: ModelCard, verdict: Verdict) -> list[str]:
    """What to try after a refusal, a sentence each, first how long the model was trained and on what."""
    images = card.data["images"]
    steps, epochs = steps_an_epoch(run.config, images["train"]), len(run.result.history["loss"])
    failed = {check.name: check for check in verdict.checks if not check.passed}
    tries: list[str] = []
    if "accuracy_floor" in failed:
        tries += [*_better_training(run, steps), *_more_tests(run, verdict.thresholds)]
    if "recall_floor" in failed:
        tries.append("More training images of the classes whose recall is too low.")
    if "calibration" in failed and images["validation"] < FEW_VALIDATION:
        tries.append(f"More validation images: {images['validation']:,} are few to fit the temperature on.")
    if any(name.endswith("_kept") for name in failed):
        tries.append(
            f"Other settings or more training images; until then, version {verdict.against} is the better one."
        )
    trained = (
        f"It was trained on {counted(images['train'], 'image')}, {counted(steps, 'step')} an epoch for "
        f"{counted(epochs, 'epoch')}, and tested on {counted(images['test'], 'image')}."
    )
    return [trained, *(["What to try:"] if tries else []), *(f"  - {each}" for each in tries)]


def _more_tests(run: Run, thresholds: Thresholds) -> Iterator[str]:
    """How many more test images would settle it."""
    confusion = run.evaluation.confusion
    images = confusion.sum(axis=1)
    share, floor = thresholds.share(confusion.diagonal(), images)
    best, _ = thresholds.share(images, images)
    if share.value > floor:
        more = share.images_needed(floor) - share.images
        yield f"{counted(more, 'more test image')}, if the model is as good on them; {MORE_PICTURES}."
    elif best.value == floor:
        yield ONE_CLASS
    elif best.needed(floor) >= 1:
        yield f"At least {best.images_needed(floor):,} test images; {MORE_PICTURES}."


def _better_training(run: Run, steps: int) -> Iterator[str]:
    """What may make the model learn more."""
    config, fitted = run.config, run.result.history["accuracy"][run.result.best_epoch]
    on = [name for name in AUGMENTATIONS if getattr(config, name)]
    if steps * config.epochs < STEPS:
        yield f"--epochs {math.ceil(STEPS / steps)}: {steps * config.epochs:,} steps are few, {STEPS:,} are usual."
        return
    if fitted >= FITTED:
        yield f"More training images: the model fits those that it has (accuracy {fitted:.4f}), but not others."
        return
    other = "" if config.model == "residual" else ", or --model residual"
    yield (
        f"--learning-rate {config.learning_rate / 4:.2g}{other}: the model does not fit even its training images "
        f"(accuracy {fitted:.4f})."
    )
    if on:
        options = " ".join("--no-mirror" if name == "mirror" else f"--{name} 0" for name in on)
        yield (
            f"{options}: augmentation may be the cause; classes that differ only by what it changes, as left and right "
            "in mirrored images, cannot be learned."
        )
