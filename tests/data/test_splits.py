from __future__ import annotations

import csv
import dataclasses
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from sslkit import Record
from sslkit.data.manifest import Manifest
from sslkit.data.splits import Splits, make_splits
from sslkit.errors import DataError

NUM_CLASSES = 4
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)

Patients = list[list[int]]
"""The grades of each patient's images, -1 where an image has no label."""


def manifest(patients: Patients) -> Manifest:
    grades = [grade for grades in patients for grade in grades]
    groups = [number for number, grades in enumerate(patients) for _ in grades]
    return Manifest(
        records=tuple(Record(f"image{row}", group=f"P{group}") for row, group in enumerate(groups)),
        grades=np.array(grades, dtype=np.int64),
        groups=np.array(groups, dtype=np.int64),
        group_names=tuple(f"P{number}" for number in range(len(patients))),
        rows=np.arange(len(grades)),
    )


def split(patients: Patients, *, folds: int = 2, repetitions: int = 1, seed: int = 0, classes: int = 5) -> Splits:
    return make_splits(manifest(patients), num_classes=classes, folds=folds, repetitions=repetitions, seed=seed)


def labelled_groups(patients: Patients) -> int:
    return sum(any(grade >= 0 for grade in grades) for grades in patients)


PATIENTS = st.lists(st.lists(st.integers(-1, NUM_CLASSES - 1), min_size=1, max_size=5), min_size=2, max_size=40).filter(
    lambda patients: labelled_groups(patients) >= 2
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Manifest, Splits]:
    patients = draw(PATIENTS)
    ordered = manifest(patients)
    # In a table, a patient's images need not stand together.
    order = np.array(draw(st.permutations(range(len(ordered)))))
    mixed = dataclasses.replace(
        ordered,
        records=tuple(ordered.records[row] for row in order),
        grades=ordered.grades[order],
        groups=ordered.groups[order],
    )
    folds = draw(st.integers(2, min(5, labelled_groups(patients))))
    seed = draw(st.integers(0, 2**40))
    return mixed, make_splits(mixed, num_classes=NUM_CLASSES, folds=folds, repetitions=2, seed=seed)


@given(cases())
@settings(deadline=None)
def test_folds_never_divide_a_group_and_test_each_labelled_image_once(case: tuple[Manifest, Splits]) -> None:
    listed, splits = case
    tests = [splits.test_rows(fold) for fold in range(splits.num_folds)]
    assert sorted(np.concatenate(tests).tolist()) == np.flatnonzero(listed.labelled).tolist()
    assert all(len(rows) for rows in tests)
    for fold, rows in enumerate(tests):
        groups = set(listed.groups[rows].tolist())
        seen = splits.pretraining_rows(fold)
        # Not even the unlabelled images of a tested patient are seen, and all other images are.
        assert set(np.flatnonzero(~np.isin(listed.groups, list(groups)))) == set(seen.tolist())
        for repetition in range(2):
            learnt = splits.labelled_rows(fold, repetition, 1.0)
            assert groups.isdisjoint(listed.groups[learnt].tolist())
    assert splits.pretraining_rows(None).tolist() == list(range(len(listed)))


@given(cases(), st.lists(st.floats(0.001, 1.0), min_size=2, max_size=5))
@settings(deadline=None)
def test_shares_are_nested_whole_groups_nearest_to_what_was_asked(
    case: tuple[Manifest, Splits], fractions: list[float]
) -> None:
    listed, splits = case
    for fold in range(splits.num_folds):
        whole = np.flatnonzero(listed.labelled & (splits.fold_of != fold))
        for repetition in range(2):
            order = splits.orders[repetition][fold]
            ends = order.ends
            previous: list[int] = []
            for fraction in sorted(fractions):
                rows = splits.labelled_rows(fold, repetition, fraction).tolist()
                assert rows[: len(previous)] == previous
                assert len(rows) in ends
                assert abs(len(rows) - fraction * len(whole)) == pytest.approx(min(abs(ends - fraction * len(whole))))
                previous = rows
            assert sorted(splits.labelled_rows(fold, repetition, 1.0).tolist()) == whole.tolist()
            for rows in np.split(order.rows, ends[:-1]):
                assert len(set(listed.groups[rows].tolist())) == 1


@given(cases())
@settings(deadline=None)
def test_the_first_groups_of_an_order_show_every_class(case: tuple[Manifest, Splits]) -> None:
    listed, splits = case
    for folds in splits.orders:
        for fold, order in enumerate(folds):
            present = set(listed.grades[listed.labelled & (splits.fold_of != fold)].tolist())
            first = order.rows[: order.ends[: len(present)][-1]]
            assert set(listed.grades[first].tolist()) == present


@given(PATIENTS, st.integers(0, 2**40))
@example([[0], [1]], 0)
@settings(deadline=None, max_examples=30)
def test_folds_and_orders_depend_on_the_seed_alone(patients: Patients, seed: int) -> None:
    once, again, longer = (split(patients, seed=seed, repetitions=number) for number in (2, 2, 3))
    assert once.fold_of.tolist() == again.fold_of.tolist() == longer.fold_of.tolist()
    plain = [
        [[(order.rows.tolist(), order.ends.tolist()) for order in folds] for folds in splits.orders[:2]]
        for splits in (once, again, longer)
    ]
    assert plain[0] == plain[1] == plain[2]


def test_another_seed_gives_other_folds_and_another_repetition_another_order() -> None:
    patients = [[row % 5] for row in range(100)]
    splits = split(patients, folds=5, repetitions=3)
    assert splits.fold_of.tolist() != split(patients, folds=5, seed=1).fold_of.tolist()
    assert (
        splits.labelled_rows(0, 0, 1.0).tolist() != split(patients, folds=5, seed=1).labelled_rows(0, 0, 1.0).tolist()
    )
    for fold in range(5):
        orders = [tuple(splits.labelled_rows(fold, repetition, 1.0).tolist()) for repetition in range(3)]
        assert len(set(orders)) == 3
        assert len({frozenset(order) for order in orders}) == 1


# Quality


def spread(grades: npt.NDArray[np.int64], fold_of: npt.NDArray[np.int64], folds: int) -> npt.NDArray[np.float64]:
    """Return the largest distance of a fold's count of each class from the mean over folds."""
    counts = np.array([np.bincount(grades[fold_of == fold], minlength=5) for fold in range(folds)])
    return np.abs(counts - counts.mean(axis=0)).max(axis=0)


def oracle(
    grades: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], folds: int, seed: int
) -> npt.NDArray[np.int64]:
    fold_of = np.empty(len(grades), dtype=np.int64)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for fold, (_, test) in enumerate(splitter.split(grades, grades, groups)):
        fold_of[test] = fold
    return fold_of


def like_fundus600() -> Patients:
    """300 patients of two photographs, with the class counts and mixed pairs of fundus600."""
    pairs = {
        (0, 0): 120, (2, 2): 64, (0, 1): 32, (1, 2): 26, (1, 1): 20, (3, 3): 11,
        (2, 3): 9, (4, 4): 9, (0, 2): 4, (3, 4): 3, (1, 4): 1, (2, 4): 1,
    }  # fmt: skip
    return [list(pair) for pair, count in pairs.items() for _ in range(count)]


def test_the_made_up_patients_have_the_counts_of_fundus600(fundus600: Path) -> None:
    with (fundus600 / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    real: dict[str, list[int]] = {}
    for row in rows:
        real.setdefault(row["patient"], []).append(int(row["grade"]))
    assert sorted(sorted(grades) for grades in real.values()) == sorted(like_fundus600())


@pytest.mark.parametrize("seed", range(5))
def test_each_fold_has_its_share_of_each_class(seed: int) -> None:
    listed = manifest(like_fundus600())
    assert np.bincount(listed.grades).tolist() == [276, 99, 168, 34, 23]
    splits = split(like_fundus600(), folds=5, seed=seed)
    assert (spread(listed.grades, splits.fold_of, 5) < 2).all()
    assert np.ptp([len(splits.test_rows(fold)) for fold in range(5)]) <= 4
    theirs = oracle(listed.grades, listed.groups, 5, seed)
    assert spread(listed.grades, splits.fold_of, 5).sum() <= spread(listed.grades, theirs, 5).sum() + 0.5


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_folds_of_patients_of_any_size_are_no_worse_than_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for seed in range(20):
        sizes = rng.integers(1, 6, size=rng.integers(20, 120))
        patients = [rng.choice(5, size, p=[0.46, 0.17, 0.28, 0.06, 0.03]).tolist() for size in sizes]
        listed = manifest(patients)
        per_class = np.bincount(listed.grades, minlength=5).clip(min=1)
        ours.append((spread(listed.grades, split(patients, folds=4, seed=seed).fold_of, 4) / per_class).mean())
        theirs.append((spread(listed.grades, oracle(listed.grades, listed.groups, 4, seed), 4) / per_class).mean())
    assert np.mean(ours) <= 1.05 * np.mean(theirs)


@pytest.mark.parametrize("seed", range(3))
def test_every_share_has_the_proportions_of_the_whole(seed: int) -> None:
    listed = manifest(like_fundus600())
    splits = split(like_fundus600(), folds=5, seed=seed)
    for fold in range(5):
        whole = np.bincount(listed.grades[splits.labelled_rows(fold, 0, 1.0)], minlength=5)
        for fraction in (0.1, 0.25, 0.5):
            counts = np.bincount(listed.grades[splits.labelled_rows(fold, 0, fraction)], minlength=5)
            assert counts.min() >= 1
            assert np.abs(counts - fraction * whole).max() <= 8
            assert abs(counts.sum() - fraction * whole.sum()) <= 1


def test_twenty_thousand_patients_take_seconds() -> None:
    rng = np.random.default_rng(0)
    patients = [rng.choice(5, size, p=[0.73, 0.07, 0.15, 0.03, 0.02]).tolist() for size in rng.integers(1, 30, 20_000)]
    start = time.process_time()
    splits = split(patients, folds=5, repetitions=2)
    for fraction in FRACTIONS:
        splits.labelled_rows(0, 0, fraction)
    assert time.process_time() - start < 8
    assert np.ptp([len(splits.test_rows(fold)) for fold in range(5)]) < 30


# Messages and files


@pytest.mark.parametrize(
    ("patients", "message"),
    [
        (
            [[0, 1], [2], [-1], [3, -1]],
            "3 labelled groups are fewer than the 5 folds; lower evaluation.folds to 3, or add labelled patients",
        ),
        ([[0, 1], [-1]], "1 labelled groups are fewer than the 5 folds; add labelled patients"),
        ([[-1], [-1]], "0 labelled groups are fewer than the 5 folds; add labelled patients"),
    ],
)
def test_fewer_labelled_groups_than_folds(patients: Patients, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        split(patients, folds=5)


def test_as_many_labelled_groups_as_folds_test_one_each() -> None:
    splits = split([[0, 0, 0], [1], [-1], [0], [2, 2]], folds=4)
    assert sorted(splits.test_rows(fold).tolist() for fold in range(4)) == [[0, 1, 2], [3], [5], [6, 7]]
    assert splits.fold_of[4] == -1


def test_what_a_class_lacks_is_told() -> None:
    names = ("none", "mild", "severe")
    # One patient alone is severe: the fold that tests it learns from none, and no other fold tests one.
    patients = [[0], [0], [0], [0], [1], [1], [2]]
    splits = split(patients, folds=2, classes=3)
    severe = int(splits.fold_of[6])
    lacking = splits.missing_classes(names, iter([0.4, 1.0]))
    assert f"fold {1 - severe} tests no image of severe" in lacking
    assert f"1 of the labels of fold {severe}, repetition 0, has no image of severe" in lacking
    expected = []
    for fold in range(2):
        for what, rows in (
            (f"fold {fold} tests", splits.test_rows(fold)),
            (f"0.4 of the labels of fold {fold}, repetition 0, has", splits.labelled_rows(fold, 0, 0.4)),
            (f"1 of the labels of fold {fold}, repetition 0, has", splits.labelled_rows(fold, 0, 1.0)),
        ):
            grades = {patients[row][0] for row in rows}
            absent = [name for grade, name in enumerate(names) if grade not in grades]
            expected += [f"{what} no image of {', '.join(absent)}"] if absent else []
    assert lacking == expected


def test_nothing_is_told_where_nothing_lacks() -> None:
    patients = [[row % 3] for row in range(30)]
    assert split(patients, folds=5, classes=3, repetitions=2).missing_classes("abc", [0.2, 1.0]) == []


def read_back(plain: dict[str, object]) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(json.dumps(plain))
    return loaded


def test_the_json_says_what_the_splits_are() -> None:
    patients = [[row % 3, -1] if row % 4 else [-1] for row in range(24)]
    listed = manifest(patients)
    ids: Sequence[str] = [record.id for record in listed.records]
    splits = split(patients, folds=3, repetitions=2, classes=3)
    plain = splits.to_json(ids, iter([0.25, 1.0]))
    assert read_back(plain) == plain
    assert plain["folds"] == 3
    assert [plain["fold_of"][name] for name in ids] == splits.fold_of.tolist()
    keys = [(repetition, fold) for repetition in range(2) for fold in range(3)]
    assert [(entry["repetition"], entry["fold"]) for entry in plain["labelled"]] == keys
    for entry, (repetition, fold) in zip(plain["labelled"], keys, strict=True):
        for fraction in (0.25, 1.0):
            rows = splits.labelled_rows(fold, repetition, fraction)
            assert entry["order"][: entry["labels"][str(fraction)]] == [ids[row] for row in rows]
        assert len(entry["order"]) == entry["labels"]["1.0"]
        assert all(plain["fold_of"][name] not in (fold, -1) for name in entry["order"])
