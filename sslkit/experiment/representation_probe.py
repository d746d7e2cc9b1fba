"""A cheap linear probe of a representation, from few labels, while it is still being learnt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sslkit.metrics import quadratic_weighted_kappa

MAX_PROBE_IMAGES = 2000
"""Labelled images that a probe looks at, at most."""

_FOLDS = 5
_PENALTIES = np.logspace(0, 6, 13)


def probe_representation(
    features: npt.NDArray[np.float32], grades: npt.NDArray[np.int64], groups: Sequence[str]
) -> float | None:
    """Return the QWK that a linear model reaches on a representation, in cross validation over groups.

    A ridge regression onto the grade, its penalty chosen within the training part by leaving one out, rounded to the
    nearest grade; the out-of-fold predictions are scored together. It costs milliseconds on hundreds of images. On the
    few labels that a small share has it is noisy: it shows whether pretraining still helps, not by how much.

    Args:
        features: float32 (M, D).
        grades: int64 (M,), in 0..K-1.
        groups: M names; images of one group stay on one side of a split.

    Returns:
        None where there are fewer than two groups, where all grades are the same, or where kappa is undefined.

    Example:
        >>> features = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
        >>> probe_representation(features, np.repeat([0, 1], 10), [str(i) for i in range(20)])
        1.0
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold

    num_groups = len(set(groups))
    if num_groups < 2 or len(np.unique(grades)) < 2:
        return None
    predicted = np.empty(len(grades), dtype=np.int64)
    for train, test in GroupKFold(min(_FOLDS, num_groups)).split(features, groups=groups):
        mean, spread = features[train].mean(axis=0), features[train].std(axis=0)
        scale = 1 / np.where(spread > 0, spread, 1)
        model = RidgeCV(_PENALTIES).fit((features[train] - mean) * scale, grades[train])
        predicted[test] = np.round(model.predict((features[test] - mean) * scale))
    highest = int(grades.max())
    return quadratic_weighted_kappa(grades, predicted.clip(0, highest), highest + 1)


def evenly_drawn(rows: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Return at most so many of the rows, at even distances.

    Example:
        >>> evenly_drawn(np.arange(5), 3).tolist()
        [0, 2, 4]
    """
    return rows[:: -(-len(rows) // most)] if len(rows) else rows
