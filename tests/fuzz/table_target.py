"""A table of labels: its bytes to rows, and to records of the data set ``csv``; the first byte picks the options."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from refusal import check_refusal

from sslkit import read_table
from sslkit.errors import UsageError
from sslkit_csv import Csv, CsvConfig

_FOLDER = Path(tempfile.mkdtemp(prefix="sslkit-fuzz-"))
_TABLE = _FOLDER / "labels.csv"
_OPTIONS = (
    {},
    {"label_column": None},
    {"group_column": "patient"},
    {"extension": "png", "label_column": "grade"},
    {"delimiter": "|"},
    {"image_column": "a", "label_column": None},
)
for _name in ("a.png", "b.JPG", "c.png", "c.jpg", "d", "deep/a.png"):
    (_FOLDER / _name).parent.mkdir(exist_ok=True)
    (_FOLDER / _name).touch()


def seeds() -> Iterator[bytes]:
    tables = (
        "image,label\na.png,0\nb.JPG,1\n",
        '\ufeffimage;label;patient\r\n"a.png";0;p1\r\n;;\r\ndeep\\a;"1";\r\n',
        "image\tlabel\tpatient\na\t0\tp\nb\t\t\n\n",
        'image,grade\na,"2,5"\nb,"two\nlines"\n',
        "image|label\na.png|0\n",
        "a,b,,\na.png,,,\n./deep/../b,,,\n",
        'image,label\n"a"".png,0\n',
    )
    for number in range(len(_OPTIONS)):
        for table in tables:
            yield bytes([number]) + table.encode()
    yield b"\0" + tables[0].encode("utf-16")
    yield b"\0PK\x03\x04"


def attempt(data: bytes) -> None:
    _TABLE.write_bytes(data[1:])
    config = CsvConfig(table=_TABLE, **_OPTIONS[data[0] % len(_OPTIONS) if data else 0])
    columns = {"image_column": None, "label_column": config.label_column or "label"}
    for read in (lambda: list(read_table(_TABLE, columns)), lambda: Csv(config).records()):
        try:
            assert read()
        except UsageError as error:
            check_refusal(error)
