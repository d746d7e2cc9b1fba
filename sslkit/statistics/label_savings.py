"""How many labels did pretraining save? The share of labels on which training from scratch does as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from sslkit.statistics.intervals import ROUNDING, tails

FloatArray: TypeAlias = npt.NDArray[np.float64]
Bound: TypeAlias = Literal["at", "below", "above"]


@dataclass(frozen=True)
class EquivalentShare:
    """A share of the labels, or the end of the measured range beyond which it lies.

    Attributes:
        value: the share, in 0..1; where ``bound`` is "below" the smallest, "above" the largest that was measured.
        bound: whether the share is ``value``, or lies below or above it.
        labels_saved: labels at ``value`` less those that pretraining had; with "below" it is fewer, with "above" more.
    """

    value: float
    bound: Bound
    labels_saved: float


@dataclass(frozen=True)
class LabelsSaved:
    """What training from scratch needs to do as well as pretraining does with a share of the labels.

    Attributes:
        share: the share that pretraining had, in 0..1.
        needed: the share that training from scratch needs.
        low: lower end of its interval; None with fewer than two folds.
        high: upper end of its interval; None with ``low``.
        confidence: of the interval, between 0 and 1.
        folds: how many folds had all their cells; the others were left out.
    """

    share: float
    needed: EquivalentShare
    low: EquivalentShare | None
    high: EquivalentShare | None
    confidence: float
    folds: int


def labels_saved(
    shares: Sequence[float] | FloatArray,
    labels: Sequence[float] | FloatArray,
    pretrained: npt.NDArray[np.floating[Any]],
    scratch: npt.NDArray[np.floating[Any]],
    share: float,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> LabelsSaved | None:
    """Return the smallest share at which training from scratch reaches what pretraining has at ``share``.

    Both arms' mean scores become non-decreasing curves over the logarithm of the share ([isotonic]
    [sslkit.statistics.isotonic]), linear between the measured shares. Nothing is extrapolated: an answer outside the
    measured shares is given as such. It is meant to be shown only where a benefit was shown at ``share``.

    The interval is a percentile bootstrap of folds: a fold brings its cells of both arms and all shares along, so that
    what makes a fold easy for all of them cancels. A few resampled folds vary too little, and know nothing of the
    training images that folds share; the deviations of each draw from the mean curves are therefore stretched, so that
    a point's interval becomes as wide as [corrected_t][sslkit.statistics.corrected_t] makes it: by the roots of
    1 / n + 1 / (n - 1) over (n - 1) / n^2, and by Student's quantile over the normal one.

    Args:
        shares: (S,) the measured shares of the labels, increasing, above 0 and at most 1.
        labels: (S,) how many labels each share is.
        pretrained: floats (S, folds), one score a cell: repetitions are averaged before. A missing cell is NaN; a
            fold that lacks one in either arm is left out.
        scratch: floats (S, folds), as ``pretrained`` and of the same folds.
        share: what pretraining had, within the measured shares.
        draws: number of resamplings.
        seed: 0 or more.
        confidence: of the interval, between 0 and 1.

    Returns:
        None where no fold has all its cells.

    Raises:
        ValueError: if shapes do not fit, shares do not increase, or ``share`` lies outside them.

    Example:
        >>> scratch = np.array([[0.2, 0.3], [0.4, 0.5], [0.6, 0.7]])
        >>> saved = labels_saved([0.25, 0.5, 1.0], [100, 200, 400], scratch + 0.1, scratch, share=0.25)
        >>> f"{saved.needed.value:.3f} {saved.needed.bound}, {saved.needed.labels_saved:.0f} saved"
        '0.354 at, 41 saved'
    """
    share_array, label_array = np.asarray(shares, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    arms = _check(share_array, label_array, pretrained, scratch, share)
    low_tail, high_tail = tails(confidence)
    if draws < 1:
        raise ValueError(f"draws is {draws}; a bootstrap needs at least one, 2000 for an interval of 95 %")
    arms = arms[..., np.isfinite(arms).all(axis=(0, 1))]
    folds = arms.shape[-1]
    if not folds:
        return None

    logs = np.log(share_array)
    at_share = np.array([np.interp(np.log(share), logs, unit) for unit in np.eye(len(logs))])

    def needed(means: FloatArray) -> FloatArray:
        """Return the share for mean curves (arms, D, S), (D,); -inf and +inf where it is outside."""
        curves = isotonic(means)
        return _first_reach(logs, curves[1], curves[0] @ at_share)

    def describe(log_share: float) -> EquivalentShare:
        bound: Bound = "below" if log_share == -np.inf else "above" if log_share == np.inf else "at"
        value = float(np.clip(np.exp(log_share), share_array[0], share_array[-1]))
        had, needs = np.interp([share, value], share_array, label_array)
        return EquivalentShare(value, bound, float(needs - had))

    centre = arms.mean(axis=-1)[:, None]
    estimate = describe(needed(centre)[0])
    if folds < 2:
        return LabelsSaved(share, estimate, None, None, confidence, folds)
    drawn = np.random.default_rng(seed).integers(folds, size=(draws, folds))
    resampled = arms[..., drawn].mean(axis=-1).transpose(0, 2, 1)
    ordered = np.sort(needed(centre + _stretch(folds, high_tail) * (resampled - centre)))
    # order statistics: quantiles that interpolate would make NaN of two infinite ends
    low, high = ordered[int(low_tail * draws)], ordered[int(np.ceil(high_tail * draws)) - 1]
    return LabelsSaved(share, estimate, describe(low), describe(high), confidence, folds)


def isotonic(values: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Return the non-decreasing sequences nearest to given ones by least squares, all at once.

    By the max-min formula: g[i] is the largest over a <= i of the smallest over b >= i of mean(values[a..b]), which
    equals pooling adjacent violators. Source: Robertson, Wright and Dykstra, "Order Restricted Statistical Inference",
    1988, chapter 1.

    Args:
        values: floats (..., S), one sequence a row, equally weighted.

    Returns:
        float64 (..., S).

    Example:
        >>> isotonic(np.array([0.25, 0.75, 0.25, 1.0])).tolist()
        [0.25, 0.5, 0.5, 1.0]
    """
    sums = np.cumsum(values, axis=-1, dtype=np.float64)
    before = np.concatenate([np.zeros_like(sums[..., :1]), sums[..., :-1]], axis=-1)
    places = np.arange(sums.shape[-1])
    lengths = places - places[:, None] + 1
    means = (sums[..., None, :] - before[..., :, None]) / np.maximum(lengths, 1)
    means = np.where(lengths > 0, means, np.inf)
    smallest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
    nearest: FloatArray = np.where(lengths > 0, smallest, -np.inf).max(axis=-2)
    return nearest


def _stretch(folds: int, high_tail: float) -> float:
    """Return how much wider than resampled folds the corrected t is: in its variance, and in its quantile."""
    from scipy.special import ndtri, stdtrit

    variance = (1 / folds + 1 / (folds - 1)) / ((folds - 1) / folds**2)
    return float(np.sqrt(variance) * stdtrit(folds - 1, high_tail) / ndtri(high_tail))


def _first_reach(logs: FloatArray, curves: FloatArray, targets: FloatArray) -> FloatArray:
    """Return where non-decreasing curves (D, S) first reach targets (D,): -inf before the first place, +inf never."""
    rows = np.arange(len(curves))
    reached = curves >= targets[:, None] - ROUNDING
    after = reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    rise = curves[rows, after] - curves[rows, before]
    way = np.clip((targets - curves[rows, before]) / np.where(rise > 0, rise, 1), 0, 1)
    places: FloatArray = logs[before] + way * (logs[after] - logs[before])
    places[curves[:, 0] > targets + ROUNDING] = -np.inf
    places[~reached.any(axis=1)] = np.inf
    return places


def _check(
    shares: FloatArray,
    labels: FloatArray,
    pretrained: npt.NDArray[np.floating[Any]],
    scratch: npt.NDArray[np.floating[Any]],
    share: float,
) -> FloatArray:
    """Return both arms as one array (2, S, folds)."""
    if shares.ndim != 1 or not len(shares) or shares[0] <= 0 or shares[-1] > 1 or (np.diff(shares) <= 0).any():
        raise ValueError(f"shares are {shares.tolist()}; expected increasing ones above 0 and at most 1")
    if labels.shape != shares.shape:
        raise ValueError(f"labels have shape {labels.shape}; expected one count a share, {shares.shape}")
    if not shares[0] <= share <= shares[-1]:
        raise ValueError(f"share is {share}; expected one within those measured, {shares[0]:g} to {shares[-1]:g}")
    shapes = np.shape(pretrained), np.shape(scratch)
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][0] != len(shares):
        raise ValueError(
            f"pretrained and scratch have shapes {shapes[0]} and {shapes[1]}; expected ({len(shares)}, folds) of both"
        )
    arms: FloatArray = np.array([pretrained, scratch], dtype=np.float64)
    return arms
