"""A probe of the grades: how far do global statistics lead, without a look at the retina?

On shortcuts: Geirhos et al., "Shortcut Learning in Deep Neural Networks", 2020, arXiv 2004.07780.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.errors import DataError
from sslkit.experiment.probes import class_probabilities
from sslkit.metrics import binary_auroc, quadratic_weighted_kappa

Integers = npt.NDArray[np.integer[Any]]

_STATISTICS_C = 1.0
"""Inverse strength of the penalty: scikit-learn's default."""


@dataclass(frozen=True)
class StatisticsProbe:
    """How well global statistics predict the grade: the figure that a model must beat to have seen anything.

    Attributes:
        qwk: mean over folds of the quadratic weighted kappa; None where no fold has one.
        auroc: mean over folds of the AUROC of the positive classes; None without them.
        qwk_by_fold: the folds' kappas, None where undefined.
        auroc_by_fold: the folds' AUROCs, None where undefined.
        images: number of labelled images.
        statistics: names of the statistics that the probe saw; those unknown for some image are left out.
    """

    qwk: float | None
    auroc: float | None
    qwk_by_fold: tuple[float | None, ...]
    auroc_by_fold: tuple[float | None, ...]
    images: int
    statistics: tuple[str, ...]


def probe_global_statistics(
    statistics: Sequence[Mapping[str, float]],
    grades: Integers,
    groups: Integers,
    fold_of: Integers,
    num_classes: int,
    positive_from: int | None,
) -> StatisticsProbe:
    """Predict the grades from global statistics alone, over the study's own folds.

    A multinomial logistic regression yields an expected grade, which is cut where the training labels' histogram is
    kept. The most probable class would nearly always be the most frequent one, and a rounded expectation the middle
    one: for a score of standardised spread s that correlates with the grade by r, kappa is about 2 r s / (1 + s^2),
    greatest where the predictions spread as the grades do. So the figure to beat is not made low by its decoding.

    Args:
        statistics: the M images' [global_statistics][sslkit.data.image_statistics.global_statistics].
        grades: (M,), in 0..K-1, negative where an image has no label.
        groups: (M,), equal where images belong together.
        fold_of: (M,), the fold that an image tests; negative for none.
        num_classes: K.
        positive_from: the lowest class that counts as positive; None where there is no such question.

    Raises:
        DataError: if there are fewer than two folds with labelled images, a fold divides a group, or no statistic is
            known for every image.
    """
    used = np.flatnonzero((grades >= 0) & (fold_of >= 0))
    grades, groups, fold_of = grades[used], groups[used], fold_of[used]
    folds = np.unique(fold_of)
    if len(folds) < 2:
        raise DataError(f"a probe needs labelled images in at least two folds, not in {len(folds)}")
    if len(np.unique(np.stack([groups, fold_of]), axis=1).T) > len(np.unique(groups)):
        raise DataError("the folds divide a group; draw them with sslkit.data.splits.make_splits")
    measured = [statistics[row] for row in used.tolist()]
    names = [name for name in measured[0] if all(math.isfinite(each[name]) for each in measured)]
    if not names:
        raise DataError("no global statistic is known for every image")
    features = np.array([[each[name] for name in names] for each in measured])
    kappas: list[float | None] = []
    aurocs: list[float | None] = []
    for fold in folds:
        training, test = fold_of != fold, fold_of == fold
        classes, shares = class_probabilities(features[training], grades[training], features, _STATISTICS_C)
        expected = shares @ classes
        cuts = np.quantile(expected[training], [np.mean(grades[training] <= grade) for grade in classes[:-1]])
        predicted = classes[np.searchsorted(cuts, expected[test])]
        kappas.append(quadratic_weighted_kappa(grades[test], predicted, num_classes))
        if positive_from is None:
            aurocs.append(None)
        else:
            positive = shares[test][:, classes >= positive_from].sum(axis=1)
            aurocs.append(binary_auroc(grades[test] >= positive_from, positive))
    return StatisticsProbe(_mean(kappas), _mean(aurocs), tuple(kappas), tuple(aurocs), len(used), tuple(names))


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
