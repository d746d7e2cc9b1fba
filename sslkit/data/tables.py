"""Reads tables of labels as spreadsheets and scripts write them; what does not fit is named by its line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sslkit.errors import DataError, did_you_mean
from sslkit.files import read_file
from sslkit.printable import listed, shown


def read_table(
    table: Path, columns: Mapping[str, str | None], *, delimiter: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    r"""Yield the line and the cells asked for, stripped of blanks, of each row of a table; blank rows are left out.

    The table is UTF-8 with or without a byte order mark, with any line ends, and its first row names the columns.
    Messages name lines and columns and quote no cell of a row, since it may name a patient.

    Args:
        table: the file.
        columns: the columns to read, by the option that names each, for messages; None stands for the table's first
            column. The first of them is the key, which no row may leave blank.
        delimiter: what parts the cells; None: the one among comma, semicolon and tab that parts the first row.

    Raises:
        sslkit.errors.DataError: if the table is missing, malformed or without rows, or lacks a column.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text("image;eye;grade\na.png;left;2\n;;\nb.png;right;\n")
        >>> list(read_table(path, {"image_column": "image", "label_column": "grade"}))
        [(2, ['a.png', '2']), (4, ['b.png', ''])]
    """
    text = _read_text(table)
    delimiter = delimiter or _sniff_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    places: list[int] = []
    rows, line = 0, 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not header:
                header = cells
                places = [_place(table, header, option, name) for option, name in columns.items()]
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{table}, line {start}: {len(cells)} cells where the header has {len(header)} columns; "
                    f"quote cells that hold {delimiter!r}, which was taken to part them"
                )
            if not cells[places[0]]:
                raise DataError(f"{table}, line {start}: the cell of column {shown(header[places[0]])} is blank")
            rows += 1
            yield start, [cells[place] for place in places]
    except csv.Error as error:
        raise DataError(f"{table}, line {line}: not a valid table: {error}; look for a stray quote") from None
    if not header:
        raise DataError(f"{table} is empty; its first line must name the columns")
    if not rows:
        raise DataError(f"{table} has no rows below its header; it needs one for each image")


def _read_text(table: Path) -> str:
    try:
        data = read_file(table)
    except FileNotFoundError:
        others = [path.name for path in table.parent.glob(f"*{table.suffix}")] if table.parent.is_dir() else []
        raise DataError(f"no table at {table}{did_you_mean(table.name, others)}") from None
    except OSError as error:
        raise DataError(f"the table {table} cannot be read: {error.strerror}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{table} is UTF-16 text; save it as CSV in UTF-8")
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{table} is a spreadsheet or zip file, not text; save it as CSV in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{table}, line {line}: not UTF-8 text; save it as CSV in UTF-8") from None
    if (null := text.find("\0")) >= 0:  # which neither a name of a file nor a label may hold
        line = text.count("\n", 0, null) + 1
        raise DataError(f"{table}, line {line}: a null character, which no text holds; save it as CSV in UTF-8")
    return text


def _sniff_delimiter(text: str) -> str:
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    return max(",;\t", key=header.count)


def _place(table: Path, header: Sequence[str], option: str, name: str | None) -> int:
    if name is None:
        return 0
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise DataError(f"{table} has {header.count(name)} columns {shown(name)} ({option}); rename all but one")
    raise DataError(
        f"{table} has no column {shown(name)} ({option}){did_you_mean(name, header)}; "
        f"its columns: {listed(column for column in header if column)}. Set {option} to one of them"
    )
