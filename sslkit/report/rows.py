"""Reads CSV files so that whatever is wrong with one is told with its file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslkit.errors import RunDirectoryError
from sslkit.printable import printable

_LARGEST = 1e9
"""No score and no count of a run comes near it, and figures could not be drawn of what lies far beyond."""


@dataclass(frozen=True)
class Row:
    """One row of a table, and where it stands; ``line`` counts from 1."""

    path: Path
    line: int
    values: Mapping[str, str]

    def error(self, reason: str) -> RunDirectoryError:
        """Return the error to raise of this row."""
        return RunDirectoryError(
            f"{self.path}, line {self.line}: {reason}. "
            "Was the file edited? 'sslkit run' with the same --output writes it again."
        )

    def optional(self, column: str) -> float | None:
        """Return a finite number, or None where the column is empty or holds none."""
        text = self.values[column]
        try:
            value = float(text) if text else math.nan
        except ValueError as error:
            raise self.error(f"column {column!r} holds {text!r}, which is not a number") from error
        if not math.isfinite(value):
            return None
        if abs(value) > _LARGEST:
            raise self.error(f"column {column!r} holds {text!r}, which is beyond all measure")
        return value

    def number(self, column: str) -> float:
        """Return a finite number, which must be there."""
        value = self.optional(column)
        if value is None:
            raise self.error(f"column {column!r} is empty, and must hold a number")
        return value

    def integer(self, column: str) -> int:
        """Return a whole number, which must be there."""
        return round(self.number(column))

    def share(self, column: str) -> float:
        """Return a share of the labels: above 0, and 1 at most."""
        value = self.number(column)
        if not 0 < value <= 1:
            raise self.error(f"column {column!r} holds {value:g}, which is no share of the labels: above 0, at most 1")
        return value

    def scores(self, keys: Sequence[str]) -> dict[str, float | None]:
        """Return every column but ``keys``."""
        return {column: self.optional(column) for column in self.values if column not in keys}


def read_rows(path: Path, required: Sequence[str]) -> list[Row]:
    """Read a CSV file that has at least the columns ``required``.

    Raises:
        sslkit.errors.RunDirectoryError: if it is missing, no table or lacks a column.
    """
    require_file(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restval="")
            lacking = [column for column in required if column not in (reader.fieldnames or ())]
            if lacking:
                raise RunDirectoryError(
                    f"{path} lacks the column(s) {', '.join(lacking)}; it has {reader.fieldnames or 'none'}."
                )
            return [Row(path, reader.line_num, _readable(row)) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{path} is not a table in UTF-8 ({error}). Run 'sslkit run' again.") from error


def _readable(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row with its control characters spelt out, without cells beyond the header."""
    return {printable(key, keep=""): printable(value, keep="") for key, value in row.items() if key is not None}


def require_file(path: Path) -> None:
    """Refuse a run directory that lacks one of its files.

    Raises:
        sslkit.errors.RunDirectoryError: if the file is missing.
    """
    if not path.is_file():
        raise RunDirectoryError(
            f"{path.parent} has no {path.name}: the run has not got that far, or this is no run directory. "
            "'sslkit run' with the same --output does what is missing."
        )
