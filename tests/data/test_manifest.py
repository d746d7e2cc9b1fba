from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pytest

from sslkit import Dataset, PluginConfig, Record
from sslkit.data.manifest import Manifest, fits_tables, read_manifest
from sslkit.errors import DataError

CLASSES = ("none", "mild", "severe")


class Listed(Dataset[PluginConfig]):
    name = "listed"

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(PluginConfig())
        self.listed = records

    def records(self) -> Sequence[Record]:
        return self.listed


def grade(label: str | int) -> int:
    if label not in CLASSES:
        raise ValueError(f"{label!r} is no grade. Accepted: none, mild, severe.")
    return CLASSES.index(str(label))


def manifest(*records: Record) -> Manifest:
    return read_manifest(Listed(records), grade, CLASSES)


def test_labels_become_grades() -> None:
    read = manifest(Record("a", label="mild"), Record("b"), Record("c", label="none"), Record("d", label="mild"))
    assert read.grades.dtype == np.int64
    assert read.grades.tolist() == [1, -1, 0, 1]
    assert read.labelled.tolist() == [True, False, True, True]
    assert [record.id for record in read.records] == ["a", "b", "c", "d"]
    assert read.rows.tolist() == [0, 1, 2, 3]
    assert len(read) == 4


def test_a_label_is_asked_for_once() -> None:
    asked = []

    def ask(label: str | int) -> int:
        asked.append(label)
        return 0

    read_manifest(Listed([Record(str(row), label="x" if row % 2 else 7) for row in range(10)]), ask, CLASSES)
    assert asked == [7, "x"]


def test_an_unknown_label() -> None:
    message = (
        "the label 'midl' of image 'b' is none of the head's classes: 'midl' is no grade. Accepted: none, mild, "
        "severe. The classes are 0 none, 1 mild, 2 severe. Leave the cell blank where an image has no label."
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        manifest(Record("a", label="mild"), Record("b", label="midl"), Record("c", label="midl"))


def test_an_unknown_label_is_named_with_its_place() -> None:
    with pytest.raises(DataError, match=r"^the label 'x' of image 'b' \(labels\.csv, line 3\) is none of"):
        manifest(Record("a", label="mild"), Record("b", label="x", source="labels.csv, line 3"))


def test_several_unknown_labels_are_listed() -> None:
    message = r"^the label 'x' of image 'b' is none of the head's classes \(2 such labels: 'x', 9\): 'x' is no grade\."
    with pytest.raises(DataError, match=message):
        manifest(Record("a", label="mild"), Record("b", label="x"), Record("c", label="x"), Record("d", label=9))


def test_many_unknown_labels_are_cut_short() -> None:
    with pytest.raises(DataError, match=r"\(20 such labels: '0', '1', '2', '3', '4', '5', '6', '7'\)"):
        manifest(*(Record(str(row), label=str(row)) for row in range(20)))


def test_an_image_that_is_listed_twice() -> None:
    with pytest.raises(DataError, match=r"^the image 'b' stands in the data set 'listed' twice; name each image once$"):
        manifest(Record("a"), Record("b"), Record("b", label="mild"))


def test_an_empty_data_set() -> None:
    with pytest.raises(DataError, match=r"^the data set 'listed' holds no image; check its path or table$"):
        manifest()


def test_groups_stay_together_and_an_image_without_one_is_its_own() -> None:
    read = manifest(Record("a", group="P1"), Record("b"), Record("c", group="P1"), Record("d"), Record("e", group="P2"))
    assert read.groups.dtype == np.int64
    assert read.groups.tolist() == [0, 1, 0, 2, 3]
    assert read.group_names == ("P1", "b", "d", "P2")


def test_a_group_that_is_called_like_an_image_is_another_group() -> None:
    read = manifest(Record("P1"), Record("b", group="P1"), Record("c", group="P1"))
    assert read.groups.tolist() == [0, 1, 1]
    assert read.group_names == ("P1", "P1")


def test_images_are_left_out_and_the_others_keep_their_rows() -> None:
    records = [
        Record("a", label="none", group="P1"),
        Record("b", label="mild", group="P2"),
        Record("c", group="P1"),
        Record("d", label="severe"),
    ]
    whole = manifest(*records)
    left = whole.without({1: "truncated"})
    assert [record.id for record in left.records] == ["a", "c", "d"]
    assert left.grades.tolist() == [0, -1, 2]
    assert left.rows.tolist() == [0, 2, 3]
    assert left.groups.tolist() == [0, 0, 1]
    assert left.group_names == ("P1", "d")
    twice = left.without([2])
    assert ([record.id for record in twice.records], twice.rows.tolist()) == (["a", "d"], [0, 3])
    assert whole.without([]).digest() == whole.digest() != left.digest()


def test_the_digest_changes_with_id_label_group_and_order() -> None:
    records = [Record("a", label="none", group="P1"), Record("b", label="mild", group="P1")]
    changed = [
        [dataclasses.replace(records[0], id="A"), records[1]],
        [dataclasses.replace(records[0], label="severe"), records[1]],
        [dataclasses.replace(records[0], label=None), records[1]],
        [dataclasses.replace(records[0], group="P2"), records[1]],
        [dataclasses.replace(records[0], group=None), records[1]],
        [dataclasses.replace(record, group="P2") for record in records],
        records[::-1],
        records[:1],
    ]
    digests = [manifest(*listed).digest() for listed in (records, *changed)]
    assert len(set(digests)) == len(digests)
    assert manifest(*records).digest() == digests[0]


def test_the_digest_tells_an_image_from_a_group_of_its_name() -> None:
    alone = manifest(Record("P1"), Record("b", group="P1"))
    together = manifest(Record("P1", group="P1"), Record("b", group="P1"))
    assert alone.digest() != together.digest()


@pytest.mark.parametrize("name", ["eye\rball.png", "eye\udce9.png"])
def test_a_name_that_no_table_can_hold_is_told_from_others(name: str) -> None:
    assert not fits_tables(name)
    assert fits_tables("ψ [bold]<b>\n\t'\";,\x1b.png")
    assert manifest(Record(name)).digest() != manifest(Record("eye.png")).digest()
