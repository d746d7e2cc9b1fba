from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslkit.data.tables import read_table
from sslkit.errors import DataError


def read_labels(path: Path, id_column: str | None, label_column: str) -> list[tuple[int, list[str]]]:
    return list(read_table(path, {"id_column": id_column, "label_column": label_column}))


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_spreadsheets_save(tmp_path: Path, delimiter: str, newline: str, mark: bytes) -> None:
    rows = [["uid", '"a, b; c"', "label"], ["1.2", "x", " 3 "], ["", "", ""], ["1.3", "y", ""]]
    text = newline.join(delimiter.join(row) for row in rows)
    expected = [(2, ["1.2", "3"]), (4, ["1.3", ""])]
    assert read_labels(table(tmp_path, mark + text.encode()), None, "label") == expected


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = table(tmp_path, "site,grade,uid\nA,2,1.2\n")
    assert read_labels(path, "uid", "grade") == [(2, ["1.2", "2"])]
    assert read_labels(path, None, "grade") == [(2, ["A", "2"])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"labels\.csv is empty; its first line must name the columns"),
        ("uid,label\n\n", "has no rows below its header"),
        ("uid,labels\n1,2\n", r"no column 'label' \(label_column\); did you mean 'labels'.; its columns: uid, labels"),
        ("id,label\n1,2\n", r"no column 'uid' \(id_column\); did you mean 'id'.; .* Set id_column to one of them"),
        ("uid,uid,label\n1,1,2\n", r"has 2 columns 'uid' \(id_column\); rename all but one"),
        ("uid,label\n1,2\n1,2,3\n", "line 3: 3 cells where the header has 2 columns; quote cells that hold ','"),
        ("uid,label\n,2\n", "line 2: the cell of column 'uid' is blank"),
        ('uid,label\n1,"2\n', "line 2: not a valid table: unexpected end of data; look for a stray quote"),
        ("uid,label\n1,2\n".encode("utf-16"), "is UTF-16 text; save it as CSV in UTF-8"),
        (b"PK\x03\x04rest", "is a spreadsheet or zip file, not text; save it as CSV in UTF-8"),
        ("uid,label\n1,2\n1,\0\n", "line 3: a null character, which no text holds; save it as CSV in UTF-8"),
        ("uid,label\n1,mäßig\n".encode("latin-1"), "line 2: not UTF-8 text; save it as CSV in UTF-8"),
    ],
)
def test_every_fault_of_a_table_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_labels(table(tmp_path, text), "uid", "label")


def test_a_missing_table(tmp_path: Path) -> None:
    table(tmp_path, "uid,label\n1,2\n")
    with pytest.raises(DataError, match=r"no table at .*label\.csv; did you mean 'labels\.csv'"):
        read_labels(tmp_path / "label.csv", None, "label")
    with pytest.raises(DataError, match="cannot be read: not a file but a folder"):
        read_labels(tmp_path, None, "label")


def test_lines_are_those_of_the_file_where_a_cell_holds_line_ends(tmp_path: Path) -> None:
    path = table(tmp_path, 'uid,label,note\n1,2,"two\nlines"\n3,4,\n')
    assert list(read_table(path, {"id_column": "uid"})) == [(2, ["1"]), (4, ["3"])]


def test_messages_quote_no_cell(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_labels(table(tmp_path, "uid,label\n1,2\nSECRET,2,3\n"), "uid", "label")
    assert "SECRET" not in str(caught.value)


def test_messages_on_a_header_are_short_and_obeyed_by_no_terminal(tmp_path: Path) -> None:
    header = ",".join(["\x1b[2J", "lable\x07" * 100, *map(str, range(100))])
    with pytest.raises(DataError) as caught:
        list(read_table(table(tmp_path, f"{header}\n"), {"label_column": "\x1b[2Jlabel"}))
    message = str(caught.value)
    assert r"labels.csv has no column '\x1b[2Jlabel' (label_column); " in message
    assert r"; its columns: \x1b[2J, lable\x07lable" in message
    assert message.endswith("36, 37, ... (102 in all). Set label_column to one of them")
    assert message.isprintable()
    with pytest.raises(DataError, match=r"of them$") as caught:
        list(read_table(table(tmp_path, ",".join(["\x08\x15" * 50] * 45)), {"label_column": "label"}))
    assert len(str(caught.value)) < 1500


def test_a_given_delimiter_is_used(tmp_path: Path) -> None:
    assert list(read_table(table(tmp_path, "a|b,c\n1|2\n"), {"x": "b,c"}, delimiter="|")) == [(2, ["2"])]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(DataError, match=r"the table .*labels\.csv cannot be read: not a file but a named pipe"):
        list(read_table(tmp_path / "labels.csv", {"image_column": "image"}))
