"""Probes: what gives an answer away without any anatomy.

A pretext task that is solved by the shape of a shutter, the edge of the frame or text in a corner teaches nothing, and
a grade that the camera's file size predicts needs no retina. Small linear models that see nothing else say how far
such clues lead: [probe_pretext][sslkit.experiment.probes.probe_pretext] for the labels that a task makes for itself,
[probe_global_statistics][sslkit.experiment.probes.probe_global_statistics] for the labels of the study. On shortcuts:
Geirhos et al., "Shortcut Learning in Deep Neural Networks", 2020, arXiv 2004.07780.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F

from sslkit.data.cropping import MASK_RADIUS
from sslkit.data.reading import FORMATS, decode
from sslkit.data.retina import retina_box
from sslkit.errors import DataError, PluginError
from sslkit.metrics import binary_auroc, quadratic_weighted_kappa
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

BORDER_SHARE = 0.5 - MASK_RADIUS
"""Width of the border as a share of the side: what the circle of the crop "fundus" never enters."""

_CORNER_SHARE = 1 / 8
_GRID = 16
_FOLDS = 5
_REDUCED_SIDE = 256
# Inverse strengths of the penalty. Hundreds of cells are weighed for a few hundred images, and only a strong penalty
# keeps chance patterns out; of the global statistics there are few.
_PRETEXT_C = 0.003
_STATISTICS_C = 1.0
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


def probe_pretext(
    task: ProbedTask, images: npt.NDArray[np.uint8], groups: Integers, *, seed: int = 0
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
        images: uint8 (M, H, W, 3), preprocessed; may be memory-mapped. Of more than 400, 400 are drawn.
        groups: (M,), equal where images belong together.
        seed: draws images, views and folds.

    Returns:
        One probe a region; none where the task has no labels to probe.

    Raises:
        DataError: if there are fewer than two groups.
        PluginError: if the task's probe labels do not fit its views.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(images))[:MAX_IMAGES])
    if len(np.unique(groups[rows])) < 2:
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
    clusters = np.repeat(np.unique(groups[rows], return_inverse=True)[1], [len(answers) for answers in labels])
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
        "border": _cell_means(views, _border(height, width, BORDER_SHARE)),
        "corners": _cell_means(views, _corners(height, width)),
    }


def silhouette(views: npt.NDArray[Any]) -> Mask:
    """Return which pixels are not surround: the dark that reaches in from the frame's edge along a row or column.

    Dark is what lies within a tenth of the way from the image's darkest to its brightest hundredth. Dark spots inside
    (a fovea, a haemorrhage) are anatomy and no part of the surround.

    Args:
        views: any real dtype (N, C, H, W).

    Returns:
        bool (N, H, W); turned and flipped as the views are.

    Example:
        >>> view = np.zeros((1, 1, 5, 5)); view[:, :, 1:4, 1:4] = 9; view[:, :, 2, 2] = 0
        >>> silhouette(view)[0].astype(int).sum(axis=1).tolist()
        [0, 3, 3, 3, 0]
    """
    light = views.max(axis=1).astype(np.float32)
    dark, bright = np.percentile(light, [1, 99], axis=(1, 2), keepdims=True)
    dim = light <= dark + (bright - dark) / 10
    surround = np.zeros_like(dim)
    for axis in (1, 2):
        surround |= np.logical_and.accumulate(dim, axis=axis)
        surround |= np.flip(np.logical_and.accumulate(np.flip(dim, axis), axis=axis), axis)
    seen: Mask = ~surround
    return seen


def global_statistics(content: bytes | npt.NDArray[np.uint8]) -> dict[str, float]:
    """Return what an original image shows without a look at its anatomy.

    Colours (0..255), sharpness and shapes are taken from a copy of at most 256 pixels.

    Args:
        content: the bytes of an image file, or uint8 pixels, as a data set reads them.

    Returns:
        ``box_left``, ``box_top``, ``box_right``, ``box_bottom``: the visible retina, as shares of width and height
        (the whole image where no retina is found); ``bright_share``: the share of pixels that are not dark surround;
        ``border_brightness``: mean of the outermost 2 %; ``mean_red`` .. ``sd_blue``; ``sharpness``: the variance of
        the Laplacian (Pech-Pacheco et al. 2000); ``width`` and ``height`` as stored; ``bytes``: the file's size, NaN
        for pixels.

    Raises:
        DataError: if the image cannot be read.

    Example:
        >>> statistics = global_statistics(np.full((20, 30, 3), 7, np.uint8))
        >>> statistics["width"], statistics["mean_red"], statistics["sharpness"]
        (30.0, 7.0, 0.0)
    """
    pixels = decode(content, at_least=_REDUCED_SIDE)
    if isinstance(content, bytes):
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
    else:
        height, width = content.shape[:2]
    small = np.asarray(Image.fromarray(pixels).reduce(max(1, -(-max(pixels.shape) // _REDUCED_SIDE))))
    rows, columns = small.shape[:2]
    left, top, right, bottom = _box(small)
    colours = small.reshape(-1, 3).astype(np.float64)
    means, deviations = colours.mean(axis=0), colours.std(axis=0)
    return {
        "box_left": left / columns,
        "box_top": top / rows,
        "box_right": right / columns,
        "box_bottom": bottom / rows,
        "bright_share": float(silhouette(small.transpose(2, 0, 1)[None]).mean()),
        "border_brightness": float(small[_border(rows, columns, BORDER_SHARE)].mean()),
        **{f"mean_{name}": float(value) for name, value in zip(("red", "green", "blue"), means, strict=True)},
        **{f"sd_{name}": float(value) for name, value in zip(("red", "green", "blue"), deviations, strict=True)},
        "sharpness": _laplacian_variance(small),
        "width": float(width),
        "height": float(height),
        "bytes": float(len(content)) if isinstance(content, bytes) else math.nan,
    }


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
        statistics: the M images' [global_statistics][sslkit.experiment.probes.global_statistics].
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
        classes, shares = _probabilities(features[training], grades[training], features, _STATISTICS_C)
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


def _probe_region(
    region: str, features: Floats, targets: Integers, clusters: Integers, fold_of: Integers, num_images: int
) -> PretextProbe:
    credit = np.zeros(len(targets))
    for fold in np.unique(fold_of):
        training, test = fold_of != fold, fold_of == fold
        classes, shares = _probabilities(features[training], targets[training], features[test], _PRETEXT_C)
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
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    sizes, hits = np.bincount(clusters), np.bincount(clusters, weights=credit)
    num_groups, size = len(sizes), float(sizes.mean())
    accuracy = float(hits.sum() / sizes.sum())
    residuals = np.append(hits - accuracy * sizes, [size * (1 - accuracy), -size * accuracy])
    variance = (residuals**2).sum() * (num_groups + 2) / (num_groups + 1) / (size * (num_groups + 2)) ** 2
    reach = float(stdtrit(num_groups - 1, 0.975)) * math.sqrt(variance)
    return accuracy, max(0.0, accuracy - reach), min(1.0, accuracy + reach)


def _probabilities(
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


def _border(height: int, width: int, share: float) -> Mask:
    ring = max(1, int(share * min(height, width)))
    mask = np.ones((height, width), np.bool_)
    mask[ring:-ring, ring:-ring] = False
    return mask


def _corners(height: int, width: int) -> Mask:
    rows, columns = (
        np.minimum(np.arange(length), np.arange(length)[::-1]) < max(1, round(_CORNER_SHARE * length))
        for length in (height, width)
    )
    mask: Mask = rows[:, None] & columns
    return mask


def _box(pixels: npt.NDArray[np.uint8]) -> tuple[float, float, float, float]:
    try:
        return retina_box(pixels)
    except DataError:
        return 0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0])


def _laplacian_variance(pixels: npt.NDArray[np.uint8]) -> float:
    grey = pixels.mean(axis=2)
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
