"""Do probabilities mean what they say? Pure functions on numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

NUM_BINS = 10

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of about one confidence.

    Attributes:
        confidence: their mean probability, in 0..1.
        frequency: share of them that came true, in 0..1.
        count: how many they are.
    """

    confidence: float
    frequency: float
    count: int


def reliability(
    probabilities: Floats, outcomes: npt.NDArray[np.bool_], num_bins: int = NUM_BINS
) -> list[ReliabilityBin]:
    """Return the reliability curve of probabilities, in bins of equal width; empty bins are left out.

    Murphy and Winkler 1977.

    Args:
        probabilities: (N,), in 0..1.
        outcomes: bool (N,), whether what was given the probability came true.
        num_bins: bins between 0 and 1.

    Raises:
        ValueError: if a probability lies outside 0..1, or the lengths differ.

    Example:
        >>> reliability(np.array([0.1, 0.9, 0.9]), np.array([False, True, False]))[1]
        ReliabilityBin(confidence=0.9, frequency=0.5, count=2)
    """
    probabilities, outcomes = np.asarray(probabilities, dtype=np.float64), np.asarray(outcomes, dtype=bool)
    if probabilities.shape != outcomes.shape or probabilities.ndim != 1:
        raise ValueError(f"{probabilities.shape} probabilities do not fit {outcomes.shape} outcomes")
    if len(probabilities) and not (probabilities.min() >= 0 and probabilities.max() <= 1 + 1e-6):
        raise ValueError("a probability lies outside 0..1")
    bins = np.minimum((probabilities * num_bins).astype(np.int64), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    confidence = np.bincount(bins, weights=probabilities, minlength=num_bins)
    frequency = np.bincount(bins, weights=outcomes, minlength=num_bins)
    return [
        ReliabilityBin(float(confidence[b] / counts[b]), float(frequency[b] / counts[b]), int(counts[b]))
        for b in np.flatnonzero(counts)
    ]


def expected_calibration_error(
    probabilities: Floats, outcomes: npt.NDArray[np.bool_], num_bins: int = NUM_BINS
) -> float:
    """Return the mean distance between confidence and frequency over the bins of the reliability curve.

    Guo, Pleiss, Sun and Weinberger 2017 (arXiv 1706.04599), equation 3. It depends on the bins and is biased upwards
    on few images.

    Args:
        probabilities: (N,), in 0..1.
        outcomes: bool (N,).
        num_bins: bins between 0 and 1.

    Raises:
        ValueError: if a probability lies outside 0..1, or the lengths differ.

    Example:
        >>> expected_calibration_error(np.array([0.8, 0.8]), np.array([True, False]))
        0.30000000000000004
    """
    curve = reliability(probabilities, outcomes, num_bins)
    total = sum(entry.count for entry in curve)
    return sum(entry.count * abs(entry.confidence - entry.frequency) for entry in curve) / total


def brier_score(probabilities: Floats, targets: npt.NDArray[np.integer[Any]]) -> float:
    """Return the mean squared distance between probabilities and what came true, 0 (best) to 2.

    Brier 1950, over all classes.

    Args:
        probabilities: (N, K), each row sums to one.
        targets: integers (N,), in 0..K-1.

    Example:
        >>> brier_score(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0]))
        0.25
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    truth = np.eye(probabilities.shape[1])[targets]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())
