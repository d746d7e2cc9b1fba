"""Cut points that maximise quadratic weighted kappa: an exact search, one cut point at a time.

The predicted class is the number of scores above their cut points, ``sum_k [s_k > c_k]``. With all cut points but one
fixed, moving that one through the sorted scores changes one row's class by one at each step, so the kappa of every
place it could stand follows from running sums, in integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_MOST_ROUNDS = 100


def fit_cut_points(
    scores: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], start: npt.NDArray[np.float32], *, increasing: bool
) -> npt.NDArray[np.float32]:
    """Return cut points whose kappa is at least that of ``start``, and which no change of one of them improves.

    Coordinate ascent: each cut point in turn moves to the best place between two neighbouring scores, until a whole
    round changes nothing. It moves only to a better place; of several equally good ones, to the one nearest to
    ``start``. Nothing is random.

    Args:
        scores: finite float32 (M, K-1); column k decides whether a row lies above class k.
        targets: int64 (M,) in 0..K-1.
        start: float32 (K-1,); also what is returned where all targets are of one class, which says nothing.
        increasing: keep the cut points in increasing order, as one score that is compared with all of them needs.

    Returns:
        float32 (K-1,).

    Example:
        >>> scores = np.array([[0.1], [0.2], [0.4]], dtype=np.float32)
        >>> targets = np.array([0, 1, 1])
        >>> fit_cut_points(scores, targets, start=np.array([0.5], dtype=np.float32), increasing=False).round(2).tolist()
        [0.15000000596046448]
    """
    cut_points = start.copy()
    if len(np.unique(targets)) < 2:
        return cut_points
    for _ in range(_MOST_ROUNDS):
        before = cut_points.copy()
        for k in range(len(cut_points)):
            others = (np.delete(scores, k, axis=1) > np.delete(cut_points, k)).sum(axis=1)
            candidates = _places(scores[:, k], cut_points[k])
            if increasing:
                lowest = cut_points[k - 1] if k else -np.inf
                highest = cut_points[k + 1] if k + 1 < len(cut_points) else np.inf
                # Not left out but brought inside: between two scores there may be room on this side of a neighbour.
                candidates = np.unique(candidates.clip(lowest, highest))
            kappas = _kappas(scores[:, k], targets, others, candidates)
            best = candidates[kappas == kappas.max()]
            if cut_points[k] not in best:
                cut_points[k] = best[np.abs(best.astype(np.float64) - start[k]).argmin()]
        if np.array_equal(before, cut_points):
            break
    return cut_points


def _places(scores: npt.NDArray[np.float32], current: np.float32) -> npt.NDArray[np.float32]:
    """Return one cut point below all scores, one between each two, one at the highest, and the current one, sorted."""
    values = np.unique(scores)
    lower, upper = values[:-1], values[1:]
    middle = lower / 2 + upper / 2
    # Between neighbouring floats there is no middle; at the lower one it is still the upper that lies above.
    middle = np.where((middle > lower) & (middle < upper), middle, lower)
    below = np.maximum(np.nextafter(values[0], np.float32(-np.inf)), np.finfo(np.float32).min)
    return np.unique(np.concatenate([[below], middle, [values[-1], current]]).astype(np.float32))


def _kappas(
    scores: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    others: npt.NDArray[np.int64],
    candidates: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return the kappa of the classes ``others + [score > candidate]`` for every candidate."""
    order = np.argsort(scores)[::-1]

    def above(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Sum values over the rows whose score is above each candidate."""
        return np.concatenate([[0], np.cumsum(values[order])])[num_above]

    num_above = len(scores) - np.searchsorted(np.sort(scores), candidates, side="right")
    total = others.sum() + num_above
    squares = (others**2).sum() + above(2 * others + 1)
    products = (targets * others).sum() + above(targets)
    product_of_totals = targets.sum() * total
    # kappa = 1 - sum(w O) / sum(w E) with w = (i - j)^2, multiplied out.
    expected = len(scores) * ((targets**2).sum() + squares) - 2 * product_of_totals
    kappas: npt.NDArray[np.float64] = 2 * (len(scores) * products - product_of_totals) / expected
    return kappas
