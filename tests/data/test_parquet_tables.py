"""Tables in Parquet: the cells that a table of text would have, and only the columns that are asked for."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore, parquet

from sslkit import read_table
from sslkit.errors import DataError
from sslkit.storage import StorageURL

pa = pytest.importorskip("pyarrow")
COLUMNS = {"image_column": "image", "label_column": "label"}


def table(folder: Path, content: bytes | None = None, **columns: Any) -> Path:
    path = folder / "labels.parquet"
    path.write_bytes(parquet(**columns) if content is None else content)
    return path


@pytest.mark.parametrize(
    ("labels", "cells"),
    [
        (["Mild", None, "", " Severe "], ["Mild", "", "", "Severe"]),
        (pa.array([2, None, 0, -1], pa.int8()), ["2", "", "0", "-1"]),
        (pa.array([2**64 - 1, 0, 1, 2], pa.uint64()), ["18446744073709551615", "0", "1", "2"]),
        ([2.0, None, float("nan"), 2.5], ["2", "", "", "2.5"]),
        (pa.array(["a", None, "b", "a"]).dictionary_encode(), ["a", "", "b", "a"]),
        (pa.array(["a", "b", "c", None], pa.large_string()), ["a", "b", "c", ""]),
        (pa.nulls(4), ["", "", "", ""]),
    ],
    ids=["texts", "integers", "large integers", "floats", "categories", "large texts", "nulls"],
)
def test_cells_are_those_of_a_table_of_text(tmp_path: Path, labels: Any, cells: list[str]) -> None:
    path = table(tmp_path, image=["a.png", " b.png", "ü/c d.png", "e.png"], label=labels)
    assert list(read_table(path, COLUMNS)) == [
        (number, [name, cell])
        for number, (name, cell) in enumerate(zip(["a.png", "b.png", "ü/c d.png", "e.png"], cells, strict=True), 1)
    ]


def test_columns_are_found_by_name_and_by_place(tmp_path: Path) -> None:
    path = table(tmp_path, uid=["1", "2"], **{"a.b": [3, 4], "": [5, 6]})
    assert list(read_table(path, {"id_column": None, "label_column": "a.b"})) == [(1, ["1", "3"]), (2, ["2", "4"])]
    assert list(read_table(path, {"id_column": "uid", "label_column": "uid"})) == [(1, ["1", "1"]), (2, ["2", "2"])]


def test_the_ending_may_be_in_capitals(tmp_path: Path) -> None:
    path = table(tmp_path, image=["a"], label=["b"]).rename(tmp_path / "LABELS.PARQUET")
    assert list(read_table(path, COLUMNS)) == [(1, ["a", "b"])]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a", None], "label": [1, 2]}, r"labels\.parquet, row 2: the cell of column 'image' is blank"),
        ({"image": ["a", " "], "label": [1, 2]}, "row 2: the cell of column 'image' is blank"),
        ({"image": ["a", "b\0"], "label": [1, 2]}, "row 2: a null character, which no text holds; take it out"),
        (
            {"image": pa.array([], pa.string()), "label": []},
            r"labels\.parquet has no rows; it needs one for each image",
        ),
        ({}, r"labels\.parquet has no columns"),
        (
            {"image": ["a"], "labels": [1]},
            r"no column 'label' \(label_column\); did you mean 'labels'.; its columns: im",
        ),
        ({"image": ["a"], "label": [[1]]}, "the column 'label' is of type list<.*>; accepted: texts and numbers"),
        ({"image": [b"a"], "label": [1]}, "the column 'image' is of type binary; accepted: texts and numbers"),
        ({"image": ["a"], "label": [True]}, "the column 'label' is of type bool; accepted: texts and numbers"),
    ],
)
def test_what_does_not_fit_is_told_with_its_row(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_table(table(tmp_path, **columns), COLUMNS))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    from pyarrow.parquet import write_table

    double = pa.table([["a"], [1], [2]], names=["image", "label", "label"])
    write_table(double, tmp_path / "labels.parquet")
    with pytest.raises(DataError, match=r"has 2 columns 'label' \(label_column\); rename all but one"):
        list(read_table(tmp_path / "labels.parquet", COLUMNS))


@pytest.mark.parametrize("content", [b"", b"image,label\na,1\n", b"PAR1 and nothing PAR1", "half"])
def test_what_is_no_parquet_is_told(tmp_path: Path, content: Any) -> None:
    whole = parquet(image=["a"] * 100, label=[1] * 100)
    path = table(tmp_path, whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(DataError, match=r"labels\.parquet is not a valid Parquet file: .*; write it anew"):
        list(read_table(path, COLUMNS))


def test_damage_within_is_told(tmp_path: Path) -> None:
    whole = bytearray(parquet(image=[f"{n}.png" for n in range(1000)], label=[1] * 1000))
    whole[4:2000] = bytes(range(200, 254)) * 36 + b"\xff" * 52
    with pytest.raises(DataError, match=r"labels\.parquet is not a valid Parquet file"):
        list(read_table(table(tmp_path, bytes(whole)), COLUMNS))


def test_a_missing_table_is_told_with_the_nearest(tmp_path: Path) -> None:
    table(tmp_path, image=["a"], label=["b"])
    with pytest.raises(DataError, match=r"no table at .*label\.parquet; did you mean 'labels\.parquet'\?"):
        list(read_table(tmp_path / "label.parquet", COLUMNS))
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(DataError, match=r"the table .*folder\.parquet cannot be read: not a file but a folder"):
        list(read_table(tmp_path / "folder.parquet", COLUMNS))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"labels\.parquet needs pyarrow to be read: pip install 'sslkit\[parquet\]'"):
        list(read_table(tmp_path / "labels.parquet", COLUMNS))


def test_rows_are_streamed_and_other_columns_left(tmp_path: Path) -> None:
    from pyarrow.parquet import ParquetWriter

    path = tmp_path / "labels.parquet"
    with ParquetWriter(path, pa.schema([("image", pa.string()), ("label", pa.int64()), ("blob", pa.string())])) as file:
        for part in range(4):
            names = [f"images/{part}/{number:07d}.jpeg" for number in range(50_000)]
            batch = {"image": names, "label": [part] * 50_000, "blob": [f"{number:0400d}" for number in range(50_000)]}
            file.write_table(pa.table(batch, schema=file.schema))
    rows = read_table(path, COLUMNS)
    before = pa.total_allocated_bytes()
    next(rows)
    tracemalloc.start()
    last = most = 0
    for last, _ in rows:
        if last % 10_000 == 0:
            most = max(most, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last == 200_000
    assert most < 8 * 2**20  # the texts of the other column alone have 20 MB a part
    assert peak < 40 * 2**20  # some 65,536 rows, and not 200,000


def test_of_a_table_in_a_store_only_parts_are_fetched(object_store: ObjectStore) -> None:
    blob = os.urandom(3 * 2**20).hex()
    content = parquet(image=["a.png", "b.png"], label=[1, None], blob=[blob[: 3 * 2**20], blob[3 * 2**20 :]])
    object_store.put("parquet", {"labels.parquet": content, "no.parquet": b"not Parquet at all"})
    url, options = StorageURL.parse("s3://parquet/labels.parquet"), object_store.options
    fetched: list[int] = []
    from s3fs import S3File

    fetch = S3File._fetch_range
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3File, "_fetch_range", lambda file, a, b: fetched.append(b - a) or fetch(file, a, b))
        assert list(read_table(url, COLUMNS, storage_options=options)) == [(1, ["a.png", "1"]), (2, ["b.png", ""])]
    assert 0 < sum(fetched) < 2**19 < len(content)
    with pytest.raises(DataError, match=r"there is no object s3://parquet/gone\.parquet"):
        list(read_table(url.parent / "gone.parquet", COLUMNS, storage_options=options))
    with pytest.raises(DataError, match=r"s3://parquet/no\.parquet is not a valid Parquet file"):
        list(read_table(url.parent / "no.parquet", COLUMNS, storage_options=options))


def test_a_store_that_stops_in_the_middle_is_told(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3File

    object_store.put("parquet", {"labels.parquet": parquet(image=["a.png"], label=[1])})

    def fail(*_: object) -> bytes:
        raise RuntimeError("the line is dead")

    monkeypatch.setattr(S3File, "_fetch_range", fail)
    url = StorageURL.parse("s3://parquet/labels.parquet")
    with pytest.raises(DataError, match=r"the table s3://parquet/labels\.parquet cannot be read: .*the line is dead"):
        list(read_table(url, COLUMNS, storage_options=object_store.options))


def test_a_table_of_text_in_a_store(object_store: ObjectStore) -> None:
    object_store.put("texts", {"labels.csv": b"\xef\xbb\xbfimage;label\na.png;2\n", "no.csv": b"PK\x03\x04"})
    url, options = StorageURL.parse("s3://texts/labels.csv"), object_store.options
    assert list(read_table(url, COLUMNS, storage_options=options)) == [(2, ["a.png", "2"])]
    with pytest.raises(DataError, match=r"s3://texts/no\.csv is a spreadsheet or zip file"):
        list(read_table(url.parent / "no.csv", COLUMNS, storage_options=options))
    with pytest.raises(DataError, match=r"there is no object s3://texts/label\.csv"):
        list(read_table(url.parent / "label.csv", COLUMNS, storage_options=options))
    nobody = {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 0}}}
    with pytest.raises(DataError, match=r"^s3://texts/labels\.csv cannot be read: EndpointConnectionError"):
        list(read_table(url, COLUMNS, storage_options=nobody))
