"""Reads tables of labels as spreadsheets and scripts write them; what does not fit is named by its line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sslkit.data.columns import no_table, place_of, row_word, unreadable
from sslkit.data.parquet import read_parquet
from sslkit.errors import DataError
from sslkit.files import read_file
from sslkit.printable import shown
from sslkit.storage import StorageURL, read_all


def read_table(
    table: Path | StorageURL,
    columns: Mapping[str, str | None],
    *,
    delimiter: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[tuple[int, list[str]]]:
    r"""Yield the line and the cells asked for, stripped of blanks, of each row of a table; blank rows are left out.

    A table is text, UTF-8 with or without a byte order mark, with any line ends, its first row the names of the
    columns; or, where it ends in ``.parquet``, Parquet: then the number of a row comes in place of the line, counted
    from 1, whole numbers and texts come as texts, and nulls as empty ones.
    Messages name lines and columns and quote no cell of a row, since it may name a patient.

    Args:
        table: the file, or its URL.
        columns: the columns to read, by the option that names each, for messages; None stands for the table's first
            column. The first of them is the key, which no row may leave blank.
        delimiter: what parts the cells; None: the one among comma, semicolon and tab that parts the first row.
        storage_options: what fsspec is given beside a URL.

    Raises:
        sslkit.errors.DataError: if the table is missing, malformed or without rows, or lacks a column.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text("image;eye;grade\na.png;left;2\n;;\nb.png;right;\n")
        >>> list(read_table(path, {"image_column": "image", "label_column": "grade"}))
        [(2, ['a.png', '2']), (4, ['b.png', ''])]
    """
    options = storage_options or {}
    if row_word(table) == "row":
        yield from read_parquet(table, columns, options)
        return
    text = _read_text(table, options)
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
                places = [place_of(table, header, option, name) for option, name in columns.items()]
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


def _read_text(table: Path | StorageURL, options: Mapping[str, Any]) -> str:
    try:
        data = read_file(table) if isinstance(table, Path) else read_all(table, options)
    except FileNotFoundError:
        raise no_table(table) from None
    except OSError as error:
        raise unreadable(table, error) from None
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
