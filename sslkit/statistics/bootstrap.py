"""How far a mean kappa could differ had other patients been tested: a bootstrap of patients, stratified by fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from sslkit.metrics import IntArray, confusion_matrix, kappa_from_confusion
from sslkit.statistics.intervals import tails

FloatArray: TypeAlias = npt.NDArray[np.float64]

_WEIGHTS_AT_ONCE = 2**22
"""Draws are taken in blocks of this many weights (32 MiB), so that memory does not grow with the patients."""


class FoldPredictions(NamedTuple):
    """What the cells of one fold said of its test images.

    Attributes:
        targets: any integer dtype (N,), in 0..K-1.
        predictions: any integer dtype (N,), in 0..K-1; or (R, N), one row for each repetition.
        groups: (N,), the patient of each image, as numbers or texts; an image without one is a group of its own.
    """

    targets: IntArray
    predictions: IntArray
    groups: npt.NDArray[Any]


def bootstrap_fold_mean(
    folds: Sequence[FoldPredictions],
    num_classes: int,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float | None, float | None]:
    """Return a percentile interval of the mean over folds of quadratic weighted kappa: **test sampling only**.

    Each draw takes as many patients as a fold has, with replacement, from that fold, and with a patient all images
    and all repetitions; kappa is averaged over the fold's repetitions, then over folds. The models are fixed, so the
    interval says how much the choice of test patients matters and nothing of another training; it is no test of a
    difference. The same seed draws the same patients for every arm.

    Undefined kappas: a repetition whose kappa is undefined on the whole fold is left out, as the mean over folds
    leaves it out. A draw with any other undefined kappa is left out too, and both ends are None where more than
    1 - confidence of the draws are: they could hold a whole tail. Both are None, too, where no kappa is defined, and
    where a fold has a single patient, whose resampling would feign certainty.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.

    Args:
        folds: one entry a fold.
        num_classes: K.
        draws: number of resamplings.
        seed: 0 or more.
        confidence: between 0 and 1.

    Raises:
        ValueError: if a class lies outside 0..K-1, lengths differ, or ``draws`` or ``confidence`` is out of range.

    Example:
        >>> grades, patients = np.tile([0, 1, 2, 2], 20), np.repeat(np.arange(40), 2)
        >>> fold = FoldPredictions(grades, np.where(np.arange(80) % 7, grades, 0), patients)
        >>> low, high = bootstrap_fold_mean([fold, fold], num_classes=3)
        >>> f"{low:.1f} to {high:.1f}"
        '0.7 to 0.9'
    """
    quantiles = tails(confidence)
    if draws < 1:
        raise ValueError(f"draws is {draws}; a bootstrap needs at least one, 2000 for an interval of 95 %")
    kappas = []
    for number, fold in enumerate(folds):
        counts = _patient_confusions(fold, num_classes)
        if not counts.shape[1]:
            continue
        if len(counts) < 2:
            return None, None
        generator = np.random.default_rng([seed, number])
        kappas.append(_resampled_kappas(counts, draws, generator).mean(axis=1))
    if not kappas:
        return None, None
    means = np.mean(kappas, axis=0)
    defined = means[~np.isnan(means)]
    if len(defined) < confidence * draws:
        return None, None
    low, high = np.quantile(defined, quantiles)
    return float(low), float(high)


def _patient_confusions(fold: FoldPredictions, num_classes: int) -> FloatArray:
    """Return the counts of every patient and repetition, (patients, R, K, K), R without undefined repetitions."""
    predictions = np.atleast_2d(fold.predictions)
    groups = np.asarray(fold.groups)
    if groups.shape != np.shape(fold.targets):
        raise ValueError(f"groups have shape {groups.shape}; expected one an image, {np.shape(fold.targets)}")
    names, patients = np.unique(groups, return_inverse=True)
    counts = []
    for row in predictions:
        if kappa_from_confusion(confusion_matrix(fold.targets, row, num_classes)) is None:
            continue
        cells = (patients * num_classes + fold.targets) * num_classes + row
        counts.append(np.bincount(cells.astype(np.intp), minlength=len(names) * num_classes**2))
    shape = (len(counts), len(names), num_classes, num_classes)
    return np.array(counts, dtype=np.float64).reshape(shape).transpose(1, 0, 2, 3)


def _resampled_kappas(counts: FloatArray, draws: int, generator: np.random.Generator) -> FloatArray:
    """Return kappa for each draw of patients and each repetition, (draws, R); NaN where it is undefined."""
    patients = len(counts)
    flat = counts.reshape(patients, -1)
    block = max(1, _WEIGHTS_AT_ONCE // patients)
    kappas = []
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        drawn = generator.integers(patients, size=(rows, patients)) + patients * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients)
        kappas.append(_kappas((weights.astype(np.float64) @ flat).reshape(rows, *counts.shape[1:])))
    return np.concatenate(kappas)


def _kappas(matrices: FloatArray) -> FloatArray:
    """Return the quadratic weighted kappa of each matrix of counts, (..., K, K) to (...); NaN where it is undefined."""
    grades = np.arange(matrices.shape[-1], dtype=np.float64)
    weights = np.subtract.outer(grades, grades) ** 2
    true, predicted = matrices.sum(axis=-1), matrices.sum(axis=-2)
    observed = (matrices * weights).sum(axis=(-2, -1)) * true.sum(axis=-1)
    expected = ((true @ weights) * predicted).sum(axis=-1)
    undefined = expected == 0
    kappas: FloatArray = np.where(undefined, np.nan, 1 - observed / np.where(undefined, 1, expected))
    return kappas
