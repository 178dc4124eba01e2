"""The model card as text: MODEL_CARD.md, for users of the model who do not know its makers.

Its sections follow M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from registry.card import ModelCard
from trainer.release.checks import Verdict

PATH = "assets.extra/MODEL_CARD.md"


def model_card(card: ModelCard, verdict: Verdict) -> str:
    """The whole text, in Markdown; every number in it comes from the card or the verdict."""
    sections = {
        "Intended use": _use(card),
        "Data": _data(card),
        "Training": _training(card),
        "Accuracy by class": _by_class(card),
        "Calibration": _calibration(card),
        "Robustness": _robustness(card),
        "Out-of-distribution images": _familiarity(card),
        "Limits": _limits(card),
        "Verdict": _verdict(verdict),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# {card.name}: {card.config['model']}\n\nRun {card.run}, {card.created}.\n\n{body}\n"


def _use(card: ModelCard) -> str:
    height, width, channels = card.input.shape
    colours = "grey values" if channels == 1 else f"{channels} colour channels"
    return (
        f"It classifies an image as one of {len(card.classes)} classes: {', '.join(card.classes)}. It takes "
        f"images of {height} x {width} pixels with {colours} from 0 to 255, not scaled, and gives one probability "
        f"a class. It is meant for images like those that it was tested on; base no decision about a person on it."
    )


def _data(card: ModelCard) -> str:
    data = card.data
    counts = ", ".join(f"{count:,} for {split}" for split, count in data["images"].items())
    return (
        f"{data['dataset']}, from {data['source']}: {counts}. SHA-256 of all images and labels: `{data['sha256']}`. "
        f"The validation images chose the epoch, the model and the temperature. The test images chose none of these, "
        f"but the gate decides on them whether a model is pushed."
        + "".join(f"\n\nAllowed anomaly: {each}" for each in data.get("anomalies", ()))
    )


def _training(card: ModelCard) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in card.config.items())
    libraries = ", ".join(f"{name} {version}" for name, version in card.libraries.items())
    return (
        f"{card.metrics['parameters']:,} parameters, {card.metrics['seconds']:g} s{_computed(card)}. {_diverged(card)}"
        f"Settings: {settings}. "
        f"Code: {card.commit or 'not from a git checkout'}. Libraries: {libraries}."
    )


def _computed(card: ModelCard) -> str:
    computed = card.metrics.get("computed")
    return f" on {computed['backend']} in {computed['precision']}" if computed else ""


def _diverged(card: ModelCard) -> str:
    diverged = card.metrics.get("diverged")
    return f"{diverged} Training stopped there, and the best epoch before it was kept. " if diverged else ""


def _by_class(card: ModelCard) -> str:
    metrics = card.metrics
    low, high = metrics["test_interval"]
    rows = [
        [name, *(f"{values[key]:.4f}" for key in ("precision", "recall", "f1")), f"{values['images']:,}"]
        for name, values in metrics["per_class"].items()
    ]
    return (
        f"{metrics['test_accuracy']:.4f} of the test images are classified correctly (95 % interval {low:.4f} to "
        f"{high:.4f}).\n\n{_table(['class', 'precision', 'recall', 'F1', 'images'], rows)}"
    )


def _calibration(card: ModelCard) -> str:
    metrics = card.metrics["calibration"]
    rows = [
        [label, *(f"{metrics[key][measure]:.4f}" for key in ("raw", "calibrated"))]
        for measure, label in (
            ("nll", "negative log likelihood"),
            ("brier", "Brier score"),
            ("ece", "expected calibration error (15 bins)"),
        )
    ]
    return (
        f"The logits are divided by a temperature of {metrics['temperature']:.4f}, fitted on the validation images "
        f"and part of the exported graph. On the test images:\n\n"
        f"{_table(['', 'before', 'as served'], rows)}"
    )


def _robustness(card: ModelCard) -> str:
    rows = [
        [name, strength, f"{accuracy:.4f}"]
        for name, accuracies in card.metrics["robustness"].items()
        for strength, accuracy in accuracies.items()
    ]
    return (
        "Accuracy on corrupted test images. Strengths: rotation in degrees, shift as a share of the side along both "
        "axes, noise as a standard deviation in grey levels of 255, blur as a standard deviation in pixels, contrast "
        f"as what is left of it.\n\n{_table(['corruption', 'strength', 'accuracy'], rows)}"
    )


def _familiarity(card: ModelCard) -> str:
    found = card.metrics["familiarity"]
    rows = [
        [kind, f"{of['auroc']:.4f}", f"{of['found']:.4f}", f"{of['images']:,}"]
        for kind, of in found["strangers"].items()
    ]
    return (
        f"Each answer says whether the image looks like the training images: averaged into cells, it must be no "
        f"further from the nearest class than 95 % of the validation images are. Of the test images, "
        f"{found['unfamiliar_test_images']:.4f} are taken for out of distribution. Of images from elsewhere:\n\n"
        f"{_table(['images', 'AUROC', 'found', 'tried'], rows)}"
    )


def _limits(card: ModelCard) -> str:
    metrics = card.metrics
    by_recall = sorted(metrics["per_class"].items(), key=lambda item: item[1]["recall"])
    name, values = by_recall[0]
    accuracy, worst = min(
        (accuracy, f"{corruption} at {strength}")
        for corruption, accuracies in metrics["robustness"].items()
        for strength, accuracy in accuracies.items()
    )
    return (
        f"It always predicts one of its classes, even for an image that shows none of them. The class with the lowest "
        f"recall is {name}: {values['recall']:.4f}. The most damaging corruption above is {worst}: accuracy falls to "
        f"{accuracy:.4f}. Images unlike those of {card.data['dataset']}, such as photographs with a background, "
        f"were not tested; its probabilities say nothing there.{_without_litert(card)}"
    )


def _without_litert(card: ModelCard) -> str:
    reason = card.metrics.get("litert", {}).get("left_out")
    return f"\n\nIt has no LiteRT form, so `RUNTIME=litert` cannot serve it: {reason}" if reason else ""


def _verdict(verdict: Verdict) -> str:
    if verdict.accepted:
        opening = "The gate accepted it."
    else:
        opening = f"The gate refused it; {verdict.forced_by} pushed it nevertheless, because: {verdict.forced}"
    rows = [["passed" if each.passed else "**failed**", each.name, each.sentence] for each in verdict.checks]
    compared = f" It was compared with version {verdict.against}." if verdict.against else ""
    return f"{opening}{compared}\n\n{_table(['', 'check', 'finding'], rows)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)
