"""Tables of labels as they come: each is read right, or refused by its line, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslkit.data.manifest import Manifest, read_manifest
from sslkit.errors import DataError
from sslkit_csv import Csv, CsvConfig
from sslkit_dr import DRGrade, DRGradeConfig


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "right eye").mkdir()
    for name in ("a.png", "b.png", "right eye/c.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def read(folder: Path, text: str | bytes) -> Manifest:
    table = folder / "labels.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    head = DRGrade(DRGradeConfig(), 1)
    return read_manifest(Csv(CsvConfig(table=table)), head.grade, head.class_names)


@pytest.mark.parametrize(
    ("text", "grades"),
    [
        ("image,label\na.png,2.0\nb.png,0.\n", [2, 0]),
        ("image,label\na.png,\nb.png,  \n", [-1, -1]),
        ('image,label\na.png,""\nb.png,Proliferate_DR\n', [-1, 4]),
        ("image,label\n.\\a.png,1\nright eye\\c.png,3\n", [1, 3]),
        ("image,label\r\na.png,1\r\nb.png,3\r\n", [1, 3]),
        ("\ufeffimage;label;note\na.png;1;x, y\nb.png;3;\n", [1, 3]),
        (";;;\nimage;label;;x\na.png;1;;\n;;;\nb.png;3;;\n", [1, 3]),
    ],
    ids=["floats", "blanks", "quoted blanks", "Windows paths", "CRLF", "BOM and semicolons", "blank rows"],
)
def test_is_read_right(folder: Path, text: str, grades: list[int]) -> None:
    assert read(folder, text).grades.tolist() == grades


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na.png,1\nb.png,2\na.png,1\n", r"line 4: the image 'a\.png' stands in line 2 already; keep one"),
        (
            "image,label\na.png,1\n./a.png,3\n",
            r"line 3: .* stands in line 2 already, with the label '1' there and '3' here; keep one of the rows",
        ),
        (
            "image,label\na.png,1\nb.png,2.5\n",
            r"label '2\.5' of image 'b\.png' \(labels\.csv, line 3\) is none .*Accepted: 0 to 4",
        ),
        ("image;label\na.png;2,0\n", r"label '2,0' of image 'a\.png' \(labels\.csv, line 2\)"),
        ("image,label\na.png,1\n\nb.png,NA\n", r"line 4\) is none .* Leave the cell blank where an image has no label"),
        ("image,label\na.png,nan\n", r"'nan' of image 'a\.png' \(labels\.csv, line 2\)"),
        ("image,label\na.png,7\n", r"'7' of image 'a\.png' \(labels\.csv, line 2\)"),
        ("image,label\na.png,1\nz.png,2\n", r"1 of the 2 images in .* do not exist: 'z\.png' \(line 3\)"),
        ("image,label\n", "has no rows below its header"),
        ("image,label,label\na.png,1,2\n", r"has 2 columns 'label' \(label_column\); rename all but one"),
        (b"image,label\na.png,1\nb.png,\x00\n", "line 3: a null character, which no text holds; save it as CSV"),
    ],
    ids=[
        *("repeated", "conflicting", "half a grade", "decimal comma", "NA", "nan", "out of range", "no such image"),
        *("header only", "two label columns", "NUL"),
    ],
)
def test_is_refused_with_its_line(folder: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder, text)


def test_images_without_a_row_are_told(folder: Path) -> None:
    table = folder / "labels.csv"
    table.write_text("image,label\na.png,1\nright eye/c.png,2\n")
    (folder / "elsewhere").mkdir()
    for name in ("right eye/d.JPG", "elsewhere/e.png", "notes.txt"):
        (folder / name).touch()
    (folder / "loop.png").symlink_to("loop.png")
    data = Csv(CsvConfig(table=table))
    assert data.unlisted(data.records()) == ["b.png", "right eye/d.JPG"]
