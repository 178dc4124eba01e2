"""Calibration: the temperature that makes probabilities mean what they say, and how far they still are from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.optimize import brentq

BINS = 15  # of the literature since Guo et al. (2017), so that figures compare
LOWEST, HIGHEST = 0.05, 20.0  # temperatures


@dataclass(frozen=True)
class Calibration:
    """How well probabilities fit what happened.

    Attributes:
        nll: mean negative log likelihood of the true classes, in nats.
        brier: mean squared distance of the probabilities to the truth, summed over classes (0 to 2).
        ece: expected calibration error: mean |accuracy - confidence| of `BINS` equal bins, weighted by images.
        counts: images in each bin of confidence, (BINS,).
        confidence: mean confidence in each bin, None where it is empty.
        accuracy: share of right answers in each bin, None where it is empty.
    """

    nll: float
    brier: float
    ece: float
    counts: list[int]
    confidence: list[float | None]
    accuracy: list[float | None]


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """float64 probabilities (n, classes) of logits (n, classes) divided by the temperature."""
    return special.softmax(logits.astype(np.float64) / temperature, axis=1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature whose probabilities have the least negative log likelihood.

    If no image is classified wrongly, the likelihood grows as the temperature falls, without end. The labels of n
    images are then held to be right with a probability of (n + 1) / (n + 2): few images do not make the model sure.

    Args:
        logits: (n, classes), of images that neither trained the model nor test it.
        labels: int (n,).

    Source: C. Guo, G. Pleiss, Y. Sun and K. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017, section 4.2; J. Platt, "Probabilistic outputs for support vector machines" (1999), for the labels.
    """
    logits = logits.astype(np.float64)
    truth = logits[np.arange(len(labels)), labels]
    if (logits.argmax(axis=1) == labels).all():
        doubt = 1 / (len(labels) + 2)
        truth = (1 - doubt) * truth + doubt * (logits.sum(axis=1) - truth) / (logits.shape[1] - 1)

    def slope(inverse: float) -> float:
        return float(np.mean((softmax(logits, 1 / inverse) * logits).sum(axis=1) - truth))

    # The likelihood is convex in the inverse temperature, so where its slope changes sign is the only minimum.
    if slope(1 / HIGHEST) >= 0:
        return HIGHEST
    if slope(1 / LOWEST) <= 0:
        return LOWEST
    return 1 / brentq(slope, 1 / HIGHEST, 1 / LOWEST, rtol=1e-6)


def calibration(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> Calibration:
    """Measures the probabilities that a temperature makes of logits (n, classes) against labels int (n,)."""
    log_probabilities = special.log_softmax(logits.astype(np.float64) / temperature, axis=1)
    probabilities = np.exp(log_probabilities)
    truth = np.eye(logits.shape[1])[labels]
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = _bins(confidence)
    counts = np.bincount(bins, minlength=BINS)
    return Calibration(
        nll=float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        brier=float(((probabilities - truth) ** 2).sum(axis=1).mean()),
        ece=expected_calibration_error(confidence, right),
        counts=counts.tolist(),
        confidence=_means(bins, confidence, counts),
        accuracy=_means(bins, right, counts),
    )


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Mean gap between accuracy and confidence over bins of equal width; `confidence` (n,), `right` bool (n,).

    Source: M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", AAAI 2015.
    """
    gaps = np.bincount(_bins(confidence), right - confidence, BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def chance_error(confidence: np.ndarray, level: float) -> float:
    """The error that a perfectly calibrated model of these confidences stays below with probability `level`.

    A finite test set alone makes an error, because few images in a bin rarely hold their share of right answers.

    Source: J. Bröcker and L. A. Smith, "Increasing the Reliability of Reliability Diagrams", Weather and
    Forecasting 22 (2007), 651-661 (consistency resampling).
    """
    rng = np.random.default_rng(0)
    errors = [expected_calibration_error(confidence, rng.random(len(confidence)) < confidence) for _ in range(500)]
    return float(np.quantile(errors, level))


def _bins(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence; bins are open below and closed above."""
    return np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


def _means(bins: np.ndarray, values: np.ndarray, counts: np.ndarray) -> list[float | None]:
    sums = np.bincount(bins, values, BINS)
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
