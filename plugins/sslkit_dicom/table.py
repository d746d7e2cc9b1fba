"""Reads a table of labels, as a spreadsheet or a script writes it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sslkit.errors import DataError, did_you_mean


class Row(NamedTuple):
    """One line of a table: what it labels and how."""

    line: int
    key: str
    label: str | None


def read_labels(table: Path, id_column: str | None, label_column: str) -> list[Row]:
    """Return the rows of a table, parted by commas, semicolons or tabs as its first line is; blank rows are left out.

    Args:
        table: the file, in UTF-8 with or without a byte order mark.
        id_column: name of the column of the keys; None: the first column.
        label_column: name of the column of the labels.

    Raises:
        DataError: if the table is missing or malformed; the message names the line and quotes no cell.
    """
    text = _read_text(table)
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, columns, key_at, label_at, line = list[Row](), list[str](), 0, 0, 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not columns:
                columns = cells
                key_at = 0 if id_column is None else _column(table, columns, "id_column", id_column)
                label_at = _column(table, columns, "label_column", label_column)
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{table}, line {start}: {len(cells)} cells where the header has {len(columns)} columns; "
                    f"quote cells that hold {delimiter!r}"
                )
            if not cells[key_at]:
                raise DataError(f"{table}, line {start}: the cell of column {columns[key_at]!r} is blank")
            rows.append(Row(start, cells[key_at], cells[label_at] or None))
    except csv.Error as error:
        raise DataError(f"{table}, line {line}: not a valid table: {error}; look for a stray quote") from None
    if not rows:
        lack = "has no rows below its header" if columns else "is empty; its first line must name the columns"
        raise DataError(f"{table} {lack}")
    return rows


def _read_text(table: Path) -> str:
    try:
        data = table.read_bytes()
    except FileNotFoundError:
        others = [path.name for path in table.parent.glob(f"*{table.suffix}")] if table.parent.is_dir() else []
        raise DataError(f"no table at {table}{did_you_mean(table.name, others)}") from None
    except OSError as error:
        raise DataError(f"the table {table} cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{table}, line {line}: not UTF-8 text; save it as CSV in UTF-8") from None


def _column(table: Path, columns: Sequence[str], option: str, name: str) -> int:
    if columns.count(name) == 1:
        return columns.index(name)
    if name in columns:
        raise DataError(f"{table} has {columns.count(name)} columns {name!r} ({option}); rename all but one")
    raise DataError(
        f"{table} has no column {name!r} ({option}){did_you_mean(name, columns)}; "
        f"its columns: {', '.join(column for column in columns if column)}. Set {option} to one of them"
    )
