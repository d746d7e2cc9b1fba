"""Folds that never divide a group, and nested shares of their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.data.manifest import UNLABELLED, Manifest
from sslkit.errors import DataError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Order:
    """In which order the labels of a fold are handed out.

    Attributes:
        rows: int64 (L,), the labelled images, group after group.
        ends: int64 (G,), how many images there are up to each group's last.
    """

    rows: Rows
    ends: Rows

    def prefix(self, fraction: float) -> Rows:
        """Return the first rows: whole groups, as near to a share of all as can be."""
        return self.rows[: self.ends[np.argmin(np.abs(self.ends - fraction * self.ends[-1]))]]


@dataclass(frozen=True)
class Splits:
    """Which image tests which fold, and in which order a fold's labels are handed out.

    Attributes:
        num_folds: number of folds.
        fold_of: int64 (M,), the fold that an image tests; -1 where its group has no label and tests none.
        orders: for each repetition and fold, the order of its labelled training images.
        grades: int64 (M,), as in the manifest.
    """

    num_folds: int
    fold_of: Rows
    orders: tuple[tuple[Order, ...], ...]
    grades: Rows

    def test_rows(self, fold: int) -> Rows:
        """Return the labelled images that test a fold."""
        return np.flatnonzero((self.fold_of == fold) & (self.grades != UNLABELLED))

    def pretraining_rows(self, fold: int | None) -> Rows:
        """Return the images that a fold's pretraining may see; None: all images."""
        return np.flatnonzero(self.fold_of != fold) if fold is not None else np.arange(len(self.fold_of))

    def labelled_rows(self, fold: int, repetition: int, fraction: float) -> Rows:
        """Return the labelled training images of a cell: the prefix of groups whose size is nearest to the share."""
        return self.orders[repetition][fold].prefix(fraction)

    def missing_classes(self, class_names: Sequence[str], fractions: Iterable[float]) -> list[str]:
        """Return one sentence for each fold, or share of a fold's labels, that lacks a class."""
        fractions = list(fractions)
        sentences = []
        for fold in range(self.num_folds):
            sentences += self._lacking(f"fold {fold} tests", self.test_rows(fold), class_names)
            for repetition in range(len(self.orders)):
                for fraction in fractions:
                    what = f"{fraction:.3g} of the labels of fold {fold}, repetition {repetition}, has"
                    sentences += self._lacking(what, self.labelled_rows(fold, repetition, fraction), class_names)
        return sentences

    def _lacking(self, what: str, rows: Rows, class_names: Sequence[str]) -> list[str]:
        counts = np.bincount(self.grades[rows], minlength=len(class_names))
        absent = [name for name, count in zip(class_names, counts, strict=True) if not count]
        return [f"{what} no image of {', '.join(absent)}"] if absent else []

    def to_json(self, ids: Sequence[str], fractions: Iterable[float]) -> dict[str, Any]:
        """Return plain values for splits.json: the fold of each image, and each fold's order of labels."""
        fractions = list(fractions)
        return {
            "folds": self.num_folds,
            "fold_of": dict(zip(ids, self.fold_of.tolist(), strict=True)),
            "labelled": [
                {
                    "fold": fold,
                    "repetition": repetition,
                    "labels": {str(share): len(order.prefix(share)) for share in fractions},
                    "order": [ids[row] for row in order.rows.tolist()],
                }
                for repetition, folds in enumerate(self.orders)
                for fold, order in enumerate(folds)
            ],
        }


def make_splits(manifest: Manifest, *, num_classes: int, folds: int, repetitions: int, seed: int) -> Splits:
    """Draw stratified folds that never divide a group, and an order of labels for each fold and repetition.

    Folds depend on the seed alone; repetitions redraw the orders. A fold's labelled training groups stand in one order
    (one group of each class first, rarest class first, then stratified), and a share of the labels is a prefix of it,
    so that shares are nested.

    Raises:
        DataError: if there are fewer labelled groups than folds.
    """
    labelled_groups, vectors = _class_counts(manifest, num_classes)
    if len(labelled_groups) < folds:
        lower = f"lower evaluation.folds to {len(labelled_groups)}, or " if len(labelled_groups) > 1 else ""
        raise DataError(
            f"{len(labelled_groups)} labelled groups are fewer than the {folds} folds; {lower}add labelled patients"
        )
    fold_of_group = _deal(vectors, folds, np.random.default_rng([seed, 0]))
    fold_of = np.full(len(manifest.group_names), -1, dtype=np.int64)
    fold_of[labelled_groups] = fold_of_group

    orders = []
    for repetition in range(repetitions):
        by_fold = []
        for fold in range(folds):
            training = np.flatnonzero(fold_of_group != fold)
            order = training[_order(vectors[training], np.random.default_rng([seed, 1, repetition, fold]))]
            by_fold.append(_rows_in_order(manifest, labelled_groups[order]))
        orders.append(tuple(by_fold))
    return Splits(folds, fold_of[manifest.groups], tuple(orders), manifest.grades)


def _class_counts(manifest: Manifest, num_classes: int) -> tuple[Rows, Rows]:
    """Return the labelled groups and how many images of each class they hold, (G, K)."""
    labelled = manifest.labelled
    counts = np.zeros((len(manifest.group_names), num_classes), dtype=np.int64)
    np.add.at(counts, (manifest.groups[labelled], manifest.grades[labelled]), 1)
    groups = np.flatnonzero(counts.any(axis=1))
    return groups, counts[groups]


def _rows_in_order(manifest: Manifest, groups: Rows) -> Order:
    """Return the labelled rows of some groups, one group after another."""
    place = np.full(len(manifest.group_names), -1, dtype=np.int64)
    place[groups] = np.arange(len(groups))
    place_of = np.where(manifest.labelled, place[manifest.groups], -1)
    rows = np.argsort(place_of, kind="stable")[np.count_nonzero(place_of < 0) :]
    return Order(rows, np.cumsum(np.bincount(place_of[rows])))


def _deal(vectors: Rows, folds: int, rng: np.random.Generator) -> Rows:
    """Return a fold for each group: groups of equal class counts are dealt evenly, the rest to the neediest fold."""
    kinds, kind_of = np.unique(vectors, axis=0, return_inverse=True)
    fold_of = np.empty(len(vectors), dtype=np.int64)
    held = np.zeros((folds, vectors.shape[1]))
    left: list[int] = []
    kind_of = kind_of.reshape(-1)
    by_kind = np.split(np.argsort(kind_of, kind="stable"), np.cumsum(np.bincount(kind_of))[:-1])
    for kind, alike in zip(kinds, by_kind, strict=True):
        members = rng.permutation(alike)
        even = len(members) // folds * folds
        fold_of[members[:even]] = np.arange(even) % folds
        held += kind * (even // folds)
        left += members[even:].tolist()

    weights = 1.0 / vectors.sum(axis=0).clip(min=1)
    # Large groups and rare classes first: they are the hardest to place.
    for group in sorted(left, key=lambda index: -float((vectors[index] * weights).sum())):
        need = (held * weights**2) @ vectors[group]
        fold = int(np.lexsort((rng.random(folds), held.sum(axis=1), need.round(12)))[0])
        fold_of[group] = fold
        held[fold] += vectors[group]
    return fold_of


def _order(vectors: Rows, rng: np.random.Generator) -> Rows:
    """Return an order of groups: one of each class first, then every prefix near the proportions of the whole."""
    first: list[int] = []
    present = np.flatnonzero(vectors.any(axis=0))
    for grade in present[np.argsort(vectors.sum(axis=0)[present], kind="stable")]:
        if not vectors[first, grade].any():
            first.append(int(rng.choice(np.flatnonzero(vectors[:, grade]))))
    rest = rng.permutation(np.setdiff1d(np.arange(len(vectors)), first))
    strata = vectors.shape[1] - 1 - np.argmax(vectors[rest, ::-1] > 0, axis=1)
    places = np.empty(len(rest))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        places[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.concatenate([np.array(first, dtype=np.int64), rest[np.argsort(places, kind="stable")]])
