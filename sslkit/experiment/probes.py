"""A probe of a pretext task: what gives its answers away without any anatomy?

A pretext task that is solved by the shape of a shutter, the edge of the frame or text in a corner teaches nothing.
Small linear models that see nothing else say how far such clues lead. On shortcuts: Geirhos et al., "Shortcut Learning
in Deep Neural Networks", 2020, arXiv 2004.07780.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from sslkit.data.image_statistics import BORDER_SHARE, border_mask, silhouette
from sslkit.data.sharded_images import Images
from sslkit.errors import DataError, PluginError
from sslkit.types import Views

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

MAX_IMAGES = 400
"""How many images a pretext probe looks at, which keeps it at seconds."""

LEAK_MARGIN = 0.02
"""How far above chance the whole interval must lie before a probe is called a leak.

A shutter seen in 30 % of the images tells half turns from quarter turns, no more: 0.30 x (0.5 - 0.25), not 0.08, is all
that it adds to the accuracy. A margin of 0.05 would let it pass; 0.02 stands for what no pretraining would notice.
"""

_CORNER_SHARE = 1 / 8
_GRID = 16
_FOLDS = 5
# Inverse strength of the penalty. Hundreds of cells are weighed for a few hundred images, and only a strong penalty
# keeps chance patterns out.
_PRETEXT_C = 0.003
# Labels nearly as probable as the best one share the vote. A symmetric shutter tells half turns from quarter turns and
# no more: drawing lots where nothing is known would triple the interval and hide it. Chance stays what it is, for a
# vote shared by n of K labels that has nothing to do with the true one holds it n / K of the time.
_UNDECIDED = 0.8


class ProbedTask(Protocol):
    """What a probe asks of a pretext task."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Turn uint8 images (N, 3, H, W) into views."""

    def probe_labels(self, views: Views) -> torch.Tensor | None:
        """Return the label of each row of ``views["images"]``, or None where there is nothing to probe."""


@dataclass(frozen=True)
class PretextProbe:
    """How well one region of the views gives the pretext task's answer away.

    Attributes:
        region: "silhouette", "border" or "corners".
        accuracy: share (0..1) of views whose label the probe found, over folds that divide no group; where it is
            undecided between n labels, 1/n counts.
        low: lower end of the 95 % interval of the accuracy; groups, not views, are its units.
        high: upper end.
        chance: share of the most frequent label: what a constant answer scores.
        images: number of images that were looked at.
        leak: true where ``low`` lies above ``chance`` by more than ``LEAK_MARGIN``.
    """

    region: str
    accuracy: float
    low: float
    high: float
    chance: float
    images: int
    leak: bool


def probe_pretext(
    task: ProbedTask,
    images: Images,
    groups: Integers,
    *,
    rows: Integers | None = None,
    seed: int = 0,
) -> tuple[PretextProbe, ...]:
    """Probe whether regions without anatomy give a pretext task's labels away.

    Three regions of each view are reduced to a grid of 16 x 16 cells: "silhouette" (the share of each cell that is not
    dark surround: the shutter's shape), "border" (the mean colours of the frame's outermost 2 %) and "corners" (those
    of four squares of an eighth of the side). A penalised multinomial logistic regression predicts the label from
    them, over five folds of whole groups.

    Labels nearly as probable as the best one share the vote, so that the accuracy is the expected one of a probe that
    draws lots between them. The interval is that of a ratio of sums over groups (Cochran, "Sampling Techniques", 1977,
    chapter 6), with Student's t and two groups added, one all right and one all wrong (after Agresti and Coull 1998),
    so that a few groups which happen to agree do not make it narrow. A clue in 30 % of the images takes about 200
    groups to be found.

    Args:
        task: a fitted pretext task; its ``make_views`` is called with one image at a time.
        images: uint8 (R, H, W, 3), preprocessed; may be memory-mapped.
        groups: (M,), equal where images belong together.
        rows: (M,), the row of each image in `images`; None: all rows. Of more than 400 images, 400 are drawn.
        seed: draws images, views and folds.

    Returns:
        One probe a region; none where the task has no labels to probe.

    Raises:
        DataError: if there are fewer than two groups.
        PluginError: if the task's probe labels do not fit its views.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(images)) if rows is None else rows
    drawn = np.sort(rng.permutation(len(rows))[:MAX_IMAGES])
    rows, groups = rows[drawn], groups[drawn]
    if len(np.unique(groups)) < 2:
        raise DataError(f"a probe needs images of at least two groups; the {len(rows)} given are all of one")
    generator = torch.Generator().manual_seed(seed)
    regions: dict[str, list[Floats]] = {}
    labels: list[npt.NDArray[np.int64]] = []
    for row in rows:
        # One image at a time: which view shows which image is then no question of the task's order of rows.
        views = task.make_views(torch.from_numpy(images[row].transpose(2, 0, 1)[None].copy()), generator)
        answers = task.probe_labels(views)
        if answers is None:
            return ()
        labels.append(_checked(answers, views, type(task).__name__))
        for region, features in region_features(views["images"].cpu().numpy()).items():
            regions.setdefault(region, []).append(features)
    clusters = np.repeat(np.unique(groups, return_inverse=True)[1], [len(answers) for answers in labels])
    targets = np.concatenate(labels)
    fold_of = _deal(clusters, rng)
    return tuple(
        _probe_region(region, np.concatenate(parts), targets, clusters, fold_of, len(rows))
        for region, parts in regions.items()
    )


def region_features(views: npt.NDArray[Any]) -> dict[str, Floats]:
    """Return what each region shows of each view, on a grid of 16 x 16 cells.

    Args:
        views: any real dtype (N, C, H, W).

    Returns:
        float32 (N, cells) by region; for border and corners one value a channel of each cell that they touch.

    Example:
        >>> {name: f.shape for name, f in region_features(np.zeros((2, 3, 64, 64), np.uint8)).items()}
        {'silhouette': (2, 256), 'border': (2, 180), 'corners': (2, 48)}
    """
    height, width = views.shape[2:]
    everywhere = np.ones((height, width), np.bool_)
    return {
        "silhouette": _cell_means(silhouette(views)[:, None], everywhere),
        "border": _cell_means(views, border_mask(height, width, BORDER_SHARE)),
        "corners": _cell_means(views, _corners(height, width)),
    }


def _probe_region(
    region: str, features: Floats, targets: Integers, clusters: Integers, fold_of: Integers, num_images: int
) -> PretextProbe:
    credit = np.zeros(len(targets))
    for fold in np.unique(fold_of):
        training, test = fold_of != fold, fold_of == fold
        classes, shares = class_probabilities(features[training], targets[training], features[test], _PRETEXT_C)
        answers = shares >= _UNDECIDED * shares.max(axis=1, keepdims=True)
        credit[test] = (answers & (classes == targets[test, None])).sum(axis=1) / answers.sum(axis=1)
    accuracy, low, high = clustered_interval(credit, clusters)
    chance = float(np.unique(targets, return_counts=True)[1].max() / len(targets))
    return PretextProbe(region, accuracy, low, high, chance, num_images, low > chance + LEAK_MARGIN)


def clustered_interval(credit: Floats, clusters: Integers) -> tuple[float, float, float]:
    """Return the mean credit of rows and its 95 % interval, with clusters of rows as units.

    Args:
        credit: floats in 0..1 (N,), 1 where a row is right.
        clusters: (N,), 0..G-1, with G at least 2.

    Example:
        >>> [round(value, 2) for value in clustered_interval(np.array([1.0, 0.0] * 50), np.arange(100))]
        [0.5, 0.4, 0.6]
    """
    from scipy.special import stdtrit

    sizes, hits = np.bincount(clusters), np.bincount(clusters, weights=credit)
    num_groups, size = len(sizes), float(sizes.mean())
    accuracy = float(hits.sum() / sizes.sum())
    residuals = np.append(hits - accuracy * sizes, [size * (1 - accuracy), -size * accuracy])
    variance = (residuals**2).sum() * (num_groups + 2) / (num_groups + 1) / (size * (num_groups + 2)) ** 2
    reach = float(stdtrit(num_groups - 1, 0.975)) * math.sqrt(variance)
    return accuracy, max(0.0, accuracy - reach), min(1.0, accuracy + reach)


def class_probabilities(
    training: Floats, labels: Integers, features: Floats, inverse_penalty: float
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the classes that the training labels hold, (L,), and each row's probability of them, (N, L)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    classes = np.unique(labels).astype(np.int64)
    if len(classes) == 1:
        return classes, np.ones((len(features), 1))
    scaler = StandardScaler().fit(training)
    model = LogisticRegression(C=inverse_penalty, max_iter=1000).fit(scaler.transform(training), labels)
    return classes, model.predict_proba(scaler.transform(features))


def _checked(answers: torch.Tensor, views: Views, name: str) -> npt.NDArray[np.int64]:
    if "images" not in views:
        raise PluginError(f"{name} has probe labels but no view named 'images', only {', '.join(sorted(views))}")
    if answers.shape != views["images"].shape[:1]:
        raise PluginError(
            f"{name}.probe_labels returned a tensor {tuple(answers.shape)} for views['images'] of shape "
            f"{tuple(views['images'].shape)}; return one label a row"
        )
    return answers.cpu().numpy().astype(np.int64)


def _deal(clusters: Integers, rng: np.random.Generator) -> Integers:
    """Return a fold for each row, the same for all rows of a cluster."""
    num_groups = int(clusters.max()) + 1
    dealt: Integers = rng.permutation(num_groups)[clusters] % min(_FOLDS, num_groups)
    return dealt


def _cell_means(values: npt.NDArray[Any], mask: Mask) -> Floats:
    """Return means of values (N, C, H, W) over the mask's part of each grid cell that it touches, (N, C x cells)."""
    grid = (min(_GRID, mask.shape[0]), min(_GRID, mask.shape[1]))
    inside = torch.from_numpy(mask.astype(np.float32))
    weights = F.adaptive_avg_pool2d(inside[None, None], grid)[0, 0]
    sums = F.adaptive_avg_pool2d(torch.from_numpy(values.astype(np.float32)) * inside, grid)
    touched = weights > 0
    means: Floats = (sums[:, :, touched] / weights[touched]).flatten(1).numpy()
    return means


def _corners(height: int, width: int) -> Mask:
    rows, columns = (
        np.minimum(np.arange(length), np.arange(length)[::-1]) < max(1, round(_CORNER_SHARE * length))
        for length in (height, width)
    )
    mask: Mask = rows[:, None] & columns
    return mask
