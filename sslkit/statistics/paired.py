"""Is a paired difference more than chance? The test over folds, its correction for many shares, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sslkit.statistics.intervals import ROUNDING, tails

Verdict: TypeAlias = Literal["benefit", "harm", "no difference shown"]

LEVEL = 0.05
"""Holm's p must lie below this before a difference is claimed."""


@dataclass(frozen=True)
class PairedTest:
    """A mean difference over folds, its interval, and its test.

    Attributes:
        delta: the mean over folds; None where there is no fold.
        low: lower end of the interval; None where the folds tell nothing of their spread.
        high: upper end of the interval; None with ``low``.
        p_value: two-sided, 0..1; None where there is no test.
    """

    delta: float | None
    low: float | None
    high: float | None
    p_value: float | None


def corrected_t(differences: Sequence[float] | npt.NDArray[np.floating[Any]], confidence: float = 0.95) -> PairedTest:
    """Test a paired difference over the folds of a cross-validation: corrected resampled t.

    Folds share most of their training images, so their differences are not independent and the plain paired t claims
    too much. With n folds the variance of the mean is taken to be s^2 (1 / n + 1 / (n - 1)) in place of s^2 / n: the
    second term is the size of a test fold over that of its training folds. The statistic has n - 1 degrees of freedom.

    With one fold there is no spread to measure: ``low``, ``high`` and ``p_value`` are None. So it is where all folds
    differ by the same, but for rounding (1e-12): an interval of no width would claim a certainty that coarse scores
    produce by accident. In that case ``p_value`` is 1 where the arms scored alike in every fold (there is no evidence
    against "no difference", and the share stays counted by [holm][sslkit.statistics.holm]), and None elsewhere.

    Source: Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.

    Args:
        differences: floats (folds,), one a fold: its repetitions are averaged before.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: if a difference is not finite, there is not one a fold, or the confidence is out of range.

    Example:
        >>> test = corrected_t([0.01, 0.03, 0.05])
        >>> f"{test.delta:.2f}, {test.low:.3f} to {test.high:.3f}, p = {test.p_value:.2f}"
        '0.03, -0.049 to 0.109, p = 0.24'
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"differences have shape {values.shape}; expected one a fold, (folds,)")
    if not np.isfinite(values).all():
        fold = int((~np.isfinite(values)).argmax())
        raise ValueError(f"differences[{fold}] is {values[fold]}; leave out folds whose difference is undefined")
    _, upper = tails(confidence)
    folds = len(values)
    if not folds:
        return PairedTest(None, None, None, None)
    delta = math.fsum(values) / folds
    if folds == 1:
        return PairedTest(delta, None, None, None)
    if np.ptp(values) <= ROUNDING:
        return PairedTest(delta, None, None, 1.0 if abs(delta) <= ROUNDING else None)

    # scipy.stats has the same two functions in a wrapper that takes a second to import
    from scipy.special import stdtr, stdtrit

    error = math.sqrt(values.var(ddof=1) * (1 / folds + 1 / (folds - 1)))
    margin = float(stdtrit(folds - 1, upper)) * error
    p_value = 2 * float(stdtr(folds - 1, -abs(delta) / error))
    return PairedTest(delta, delta - margin, delta + margin, p_value)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values so that the chance of any false claim among them stays within the level, however they depend.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none becomes smaller than one before it, or
    larger than 1. Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of
    Statistics 6, 1979.

    Args:
        p_values: each 0..1; None where there was no test, which stays None and does not count.

    Raises:
        ValueError: if a p-value lies outside 0..1.

    Example:
        >>> holm([0.01, None, 0.02, 0.5])
        [0.03, None, 0.04, 0.5]
    """
    for index, p_value in enumerate(p_values):
        if p_value is not None and not 0 <= p_value <= 1:
            raise ValueError(f"p_values[{index}] is {p_value}; a p-value lies in 0..1, None where there was no test")
    tested = sorted((p_value, index) for index, p_value in enumerate(p_values) if p_value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p_value, index) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p_value))
        adjusted[index] = largest
    return adjusted


def verdict(delta: float | None, holm_p: float | None) -> Verdict:
    """Return what may be said of a difference: benefit or harm only where Holm's p lies below 0.05.

    "No difference shown" is no proof of equality: it is also what too few folds say.

    Args:
        delta: the mean paired difference; None where it is undefined.
        holm_p: its p-value after [holm][sslkit.statistics.holm]; None where there was no test.

    Example:
        >>> verdict(0.03, 0.01), verdict(-0.03, 0.01), verdict(0.03, 0.05)
        ('benefit', 'harm', 'no difference shown')
    """
    if delta is None or holm_p is None or holm_p >= LEVEL or delta == 0:
        return "no difference shown"
    return "benefit" if delta > 0 else "harm"
