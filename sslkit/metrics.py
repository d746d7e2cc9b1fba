"""Scores of graded classes: quadratic weighted kappa and its companions, as pure functions of NumPy arrays.

``None`` stands for a score that is undefined (a class that is absent, say), so that no average takes it in silently.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sslkit.calibration import brier_score, expected_calibration_error

IntArray: TypeAlias = npt.NDArray[np.integer[Any]]


def confusion_matrix(targets: IntArray, predictions: IntArray, num_classes: int) -> npt.NDArray[np.int64]:
    """Count how often each class was predicted for each class.

    Args:
        targets: any integer dtype (N,), in 0..K-1.
        predictions: any integer dtype (N,), in 0..K-1.
        num_classes: K.

    Returns:
        int64 (K, K); rows are the true classes, columns the predicted ones.

    Raises:
        ValueError: if a value lies outside 0..K-1, the arrays are empty or differ in length, or are not integers.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]), num_classes=2).tolist()
        [[1, 0], [1, 1]]
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; there must be at least one class")
    targets, predictions = _classes("targets", targets, num_classes), _classes("predictions", predictions, num_classes)
    _check_lengths(targets=targets, predictions=predictions)
    dtype = np.result_type(targets, predictions)
    if dtype.kind == "f" or dtype.itemsize == 8 or np.iinfo(dtype).max < num_classes**2:
        dtype = np.dtype(np.intp)
    cells = targets.astype(dtype, copy=False) * dtype.type(num_classes) + predictions.astype(dtype, copy=False)
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64, copy=False)


def kappa_from_confusion(matrix: IntArray) -> float | None:
    """Return the quadratic weighted kappa of a matrix of counts; None where both raters are constant on one class.

    With weights (i - j)^2, kappa = 1 - sum(w * observed) / sum(w * expected), where the expected counts are the outer
    product of the two histograms, scaled to the sum of the observed ones. The sums are exact integers, so symmetry
    and reversal of the scale hold bit for bit. Source: Cohen, "Weighted kappa", Psychological Bulletin 70(4), 1968.

    Args:
        matrix: counts, any integer dtype (K, K), K being the full range of classes, present or not.

    Raises:
        ValueError: if the matrix is not square, holds no count, or holds a negative one.

    Example:
        >>> round(kappa_from_confusion(np.array([[2, 1], [0, 3]])), 3)
        0.667
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.issubdtype(matrix.dtype, np.integer):
        raise ValueError(f"a confusion matrix holds integers (K, K), not {matrix.dtype} {matrix.shape}")
    if matrix.size == 0 or matrix.min() < 0 or matrix.max() == 0:
        raise ValueError("a confusion matrix must hold counts of 0 or more, and at least one row's count")
    grades = np.arange(len(matrix))
    counts: list[list[int]] = matrix.tolist()
    true, predicted = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    num_rows = sum(true)
    weights: list[list[int]] = (np.subtract.outer(grades, grades) ** 2).tolist()
    observed = num_rows * sum(_dot(w, row) for w, row in zip(weights, counts, strict=True))
    expected = sum(count * _dot(w, predicted) for count, w in zip(true, weights, strict=True))
    return None if expected == 0 else float(1 - Fraction(observed, expected))


def quadratic_weighted_kappa(targets: IntArray, predictions: IntArray, num_classes: int) -> float | None:
    """Return the quadratic weighted kappa of two ratings; None where both are constant on the same class.

    Args:
        targets: any integer dtype (N,), in 0..K-1.
        predictions: any integer dtype (N,), in 0..K-1.
        num_classes: K, the full range of classes: without it the value is wrong where a class happens to be absent.

    Raises:
        ValueError: as [confusion_matrix][sslkit.metrics.confusion_matrix] does.

    Example:
        >>> quadratic_weighted_kappa(np.array([0, 1, 2]), np.array([0, 1, 1]), num_classes=5)
        0.6666666666666666
    """
    return kappa_from_confusion(confusion_matrix(targets, predictions, num_classes))


def accuracy(targets: IntArray, predictions: IntArray) -> float:
    """Return the share (0..1) of rows whose predicted class is the true one.

    Args:
        targets: any integer dtype (N,).
        predictions: any integer dtype (N,).

    Raises:
        ValueError: if the arrays are empty or differ in length, or are not integers.

    Example:
        >>> accuracy(np.array([0, 1]), np.array([0, 2]))
        0.5
    """
    targets, predictions = _integers("targets", targets), _integers("predictions", predictions)
    _check_lengths(targets=targets, predictions=predictions)
    return float(np.mean(targets == predictions))


def recall_by_class(targets: IntArray, predictions: IntArray, num_classes: int) -> list[float | None]:
    """Return for each class the share (0..1) of its rows that were recognised; None for a class without rows.

    Args:
        targets: any integer dtype (N,), in 0..K-1.
        predictions: any integer dtype (N,), in 0..K-1.
        num_classes: K.

    Raises:
        ValueError: as [confusion_matrix][sslkit.metrics.confusion_matrix] does.

    Example:
        >>> recall_by_class(np.array([0, 0, 2]), np.array([0, 1, 2]), num_classes=3)
        [0.5, None, 1.0]
    """
    return _recalls(confusion_matrix(targets, predictions, num_classes))


def binary_auroc(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating[Any]]) -> float | None:
    """Return the area under the ROC curve: the chance that a positive outscores a negative, ties counting half.

    This is the Mann-Whitney statistic, in which ties get mid-ranks.

    Args:
        positive: bool (N,).
        scores: floats (N,), higher for positives; no NaN.

    Returns:
        A value in 0..1, or None where there is no positive or no negative.

    Raises:
        ValueError: if a score is NaN, the arrays are empty or differ in length, or ``positive`` is not bool.

    Example:
        >>> binary_auroc(np.array([True, True, False]), np.array([0.9, 0.4, 0.4]))
        0.75
    """
    positive, scores = _booleans("positive", positive), np.asarray(scores)
    _check_lengths(positive=positive, scores=scores)
    _check_ranked(scores)
    negatives = np.sort(scores[~positive])
    positives = np.sort(scores[positive])
    if not len(negatives) or not len(positives):
        return None
    below = np.searchsorted(negatives, positives, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(negatives, positives, side="right").sum(dtype=np.int64)
    return int(below + not_above) / (2 * len(positives) * len(negatives))


def sensitivity_specificity(
    positive: npt.NDArray[np.bool_], flagged: npt.NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    """Return the share of positives that are flagged and the share of negatives that are not, each None without rows.

    Args:
        positive: bool (N,), the truth.
        flagged: bool (N,), the decision.

    Raises:
        ValueError: if the arrays are empty or differ in length, or are not bool.

    Example:
        >>> sensitivity_specificity(np.array([True, True, False]), np.array([True, False, False]))
        (0.5, 1.0)
    """
    positive, flagged = _booleans("positive", positive), _booleans("flagged", flagged)
    _check_lengths(positive=positive, flagged=flagged)
    specificity, sensitivity = _recalls(confusion_matrix(positive.view(np.uint8), flagged.view(np.uint8), 2))
    return sensitivity, specificity


def youden_threshold(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating[Any]]) -> float | None:
    """Return the threshold that maximises Youden's J, sensitivity + specificity - 1 (Youden, Cancer 3(1), 1950).

    A row is flagged where its score is at or above the threshold, which lies half-way between two scores. Of several
    that are equally good the lowest is taken, which is the most sensitive.

    Args:
        positive: bool (N,).
        scores: floats (N,), higher for positives; no NaN.

    Returns:
        The threshold, or None where there is no positive or no negative.

    Raises:
        ValueError: if a score is NaN, the arrays are empty or differ in length, or ``positive`` is not bool.

    Example:
        >>> youden_threshold(np.array([False, False, True]), np.array([0.25, 0.5, 1.0]))
        0.75
    """
    positive, scores = _booleans("positive", positive), np.asarray(scores, dtype=np.float64)
    _check_lengths(positive=positive, scores=scores)
    _check_ranked(scores)
    num_positives = int(positive.sum())
    if num_positives in (0, len(positive)):
        return None
    values, place = np.unique(scores, return_inverse=True)
    missed = np.cumsum(np.bincount(place, weights=positive))
    cleared = np.cumsum(np.bincount(place, weights=~positive))
    # Youden's J, times a constant: of flagging all, then of flagging what lies above each value but the last.
    gains = np.concatenate([[0], (cleared * num_positives - missed * (len(positive) - num_positives))[:-1]])
    lower, upper = values[:-1], values[1:]
    middle = (lower + upper) / 2
    thresholds = np.concatenate([values[:1], np.where(middle > lower, middle, upper)])
    return float(thresholds[gains.argmax()])


def evaluate(
    targets: IntArray,
    predictions: IntArray,
    probabilities: npt.NDArray[np.floating[Any]],
    positive_from: int | None,
    num_classes: int,
    threshold: float | None = None,
) -> dict[str, float | None]:
    """Return all scores of one set of predictions by name.

    Args:
        targets: any integer dtype (N,), in 0..K-1.
        predictions: any integer dtype (N,), in 0..K-1.
        probabilities: floats (N, K).
        positive_from: the lowest class, in 1..K-1, that counts as referable; None where there is no such question.
        num_classes: K.
        threshold: the summed probability of the referable classes, fitted on other images, from which an image is
            called referable.

    Returns:
        ``qwk``, ``accuracy``, ``recall_0`` .. ``recall_{K-1}``, ``ece`` (of the predicted class's probability),
        ``brier`` (over all classes) and, unless ``positive_from`` is None,
        ``referable_auroc`` (of the summed probability of the referable classes), ``referable_threshold`` as given,
        ``referable_sensitivity`` and ``referable_specificity`` at it. None where a score is undefined.

    Raises:
        ValueError: if a value lies outside its range or the shapes do not fit.

    Example:
        >>> scores = evaluate(np.array([0, 1]), np.array([0, 1]), np.eye(2), positive_from=1, num_classes=2)
        >>> scores["qwk"], scores["referable_auroc"]
        (1.0, 1.0)
    """
    matrix = confusion_matrix(targets, predictions, num_classes)
    num_rows = int(matrix.sum())
    probabilities = np.asarray(probabilities)
    if probabilities.shape != (num_rows, num_classes):
        raise ValueError(f"probabilities have shape {probabilities.shape}; expected {(num_rows, num_classes)}")
    scores: dict[str, float | None] = {
        "qwk": kappa_from_confusion(matrix),
        "accuracy": int(np.trace(matrix)) / num_rows,
    }
    scores |= {f"recall_{k}": recall for k, recall in enumerate(_recalls(matrix))}
    predictions = np.asarray(predictions)
    confidence = probabilities[np.arange(num_rows), predictions]
    scores["ece"] = expected_calibration_error(confidence, predictions == targets)
    scores["brier"] = brier_score(probabilities, targets)
    if positive_from is None:
        return scores
    if not 0 < positive_from < num_classes:
        raise ValueError(f"positive_from is {positive_from}; it must lie in 1..{num_classes - 1}")
    positive = np.asarray(targets) >= positive_from
    referable = probabilities[:, positive_from:].sum(axis=1, dtype=np.float64)
    sensitivity, specificity = (
        (None, None) if threshold is None else sensitivity_specificity(positive, referable >= threshold)
    )
    return scores | {
        "referable_auroc": binary_auroc(positive, referable),
        "referable_threshold": threshold,
        "referable_sensitivity": sensitivity,
        "referable_specificity": specificity,
    }


def _check_ranked(scores: npt.NDArray[np.floating[Any]]) -> None:
    if np.isnan(scores).any():
        raise ValueError(f"scores[{np.isnan(scores).argmax()}] is NaN; give scores that can be ranked")


def _dot(a: list[int], b: list[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _recalls(matrix: npt.NDArray[np.int64]) -> list[float | None]:
    counts: list[list[int]] = matrix.tolist()
    return [row[k] / sum(row) if sum(row) else None for k, row in enumerate(counts)]


def _integers(name: str, values: IntArray) -> IntArray:
    values = np.asarray(values)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"{name} have shape {values.shape}; expected one value a row, (N,), and at least one row")
    if not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name} are {values.dtype} (the first is {values[0]!r}); expected integers")
    return values


def _classes(name: str, values: IntArray, num_classes: int) -> IntArray:
    values = _integers(name, values)
    if values.min() < 0 or values.max() >= num_classes:
        row = int(((values < 0) | (values >= num_classes)).argmax())
        raise ValueError(f"{name}[{row}] is {values[row]}; accepted are the classes 0..{num_classes - 1}")
    return values


def _booleans(name: str, values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    values = np.asarray(values)
    if values.dtype != np.bool_:
        raise ValueError(f"{name} is {values.dtype}; expected bool")
    return values


def _check_lengths(**arrays: npt.NDArray[Any]) -> None:
    (first, a), (second, b) = arrays.items()
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(f"{first} and {second} must be one row each of (N,), N > 0, not {a.shape} and {b.shape}")
