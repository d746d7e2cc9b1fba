"""The list of a data set's images, with their grades and groups as whole numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.blame import blame, refuse, watched
from sslkit.errors import DataError
from sslkit.interfaces import Dataset
from sslkit.storage import StoredObject
from sslkit.types import Record

UNLABELLED = -1


@dataclass(frozen=True)
class Manifest:
    """What a data set holds, one entry an image.

    Attributes:
        records: the M records, in the data set's order.
        grades: int64 (M,), in 0..K-1, or -1 where the image has no label.
        groups: int64 (M,), equal where images must stay on one side of a split.
        group_names: name of each group.
        rows: int64 (M,), the row of each image in the cache of decoded images.
    """

    records: tuple[Record, ...]
    grades: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    group_names: tuple[str, ...]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def labelled(self) -> npt.NDArray[np.bool_]:
        """Bool (M,), true where the image has a label."""
        return np.not_equal(self.grades, UNLABELLED)

    def without(self, rows: Iterable[int]) -> Manifest:
        """Return the manifest without some images; the others keep their rows."""
        kept = np.flatnonzero(~np.isin(self.rows, list(rows)))
        return _assemble(tuple(self.records[place] for place in kept), self.grades[kept], self.rows[kept])

    def joined(self, groups: npt.NDArray[np.int64]) -> Manifest:
        """Return the manifest with other groups, int64 (M,); each is named after its first image's present group."""
        names: dict[int, str] = {}
        for before, group in zip(self.groups, groups, strict=True):
            names.setdefault(int(group), self.group_names[before])
        numbers = {group: number for number, group in enumerate(names)}
        renumbered = np.array([numbers[int(group)] for group in groups], dtype=np.int64)
        return replace(self, groups=renumbered, group_names=tuple(names.values()))

    def digest(self) -> str:
        """Return a digest of ids, grades and groups."""
        ids = [record.id for record in self.records]
        parts = [ids, self.grades.tolist(), self.groups.tolist(), self.group_names]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_manifest(dataset: Dataset[Any], grade: Callable[[str | int], int], class_names: Sequence[str]) -> Manifest:
    """List a data set's images and map its labels to grades.

    Args:
        dataset: the data set; no pixel is read.
        grade: maps a label to its grade; raises ValueError for a label that it does not know.
        class_names: names of the classes, for messages.

    Raises:
        DataError: if there is no image, an id appears twice, or a label is none of the classes.
    """
    with watched(dataset.provenance, "records()"), blame(dataset.provenance, "records()"):
        records = tuple(dataset.records())
    for record in records:
        if not _is_record(record):
            wanted = "sslkit.Record with texts as id and group, a label that is a text or a whole number, and a Path"
            raise refuse(dataset.provenance, "records()", f"{record!r} among its records", wanted)
    if not records:
        raise DataError(f"the data set {dataset.name!r} holds no image; check its path or table")
    seen: set[str] = set()
    for record in records:
        if record.id in seen:
            raise DataError(
                f"the image {record.id!r} stands in the data set {dataset.name!r} twice; name each image once"
            )
        seen.add(record.id)
    return _assemble(records, _grades(records, grade, class_names), np.arange(len(records)))


def _is_record(value: object) -> bool:
    return (
        isinstance(value, Record)
        and isinstance(value.id, str)
        and isinstance(value.path, Path | None)
        and isinstance(value.label, str | int | None)
        and isinstance(value.group, str | None)
        and isinstance(value.stored, StoredObject | None)
    )


def fits_tables(name: str) -> bool:
    """Tell whether tables can hold an image's name: no carriage return, and no bytes that are no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\r" not in name


def _grades(
    records: Sequence[Record], grade: Callable[[str | int], int], class_names: Sequence[str]
) -> npt.NDArray[np.int64]:
    known: dict[str | int, int] = {}
    wrong: dict[str | int, tuple[Record, str]] = {}
    for record in records:
        if record.label is None or record.label in known or record.label in wrong:
            continue
        try:
            known[record.label] = grade(record.label)
        except ValueError as error:
            wrong[record.label] = (record, str(error))
    if wrong:
        label, (record, reason) = next(iter(wrong.items()))
        place = f" ({record.source})" if record.source else ""
        others = (
            f" ({len(wrong)} such labels: {', '.join(repr(name) for name in list(wrong)[:8])})"
            if len(wrong) > 1
            else ""
        )
        raise DataError(
            f"the label {label!r} of image {record.id!r}{place} is none of the head's classes{others}: "
            f"{reason.rstrip('.')}. The classes are {', '.join(f'{k} {name}' for k, name in enumerate(class_names))}. "
            "Leave the cell blank where an image has no label."
        )
    return np.array([UNLABELLED if record.label is None else known[record.label] for record in records], dtype=np.int64)


def _assemble(records: tuple[Record, ...], grades: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Manifest:
    # An image without a group is a group of its own; the id alone could collide with a given group's name.
    keys = [("image", record.id) if record.group is None else ("group", record.group) for record in records]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    groups = np.array([numbers[key] for key in keys], dtype=np.int64)
    return Manifest(records, grades, groups, tuple(name for _, name in numbers), rows)
