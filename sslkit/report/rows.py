"""Reads CSV files so that whatever is wrong with one is told with its file, line and column."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslkit.errors import RunDirectoryError


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
        return value if math.isfinite(value) else None

    def number(self, column: str) -> float:
        """Return a finite number, which must be there."""
        value = self.optional(column)
        if value is None:
            raise self.error(f"column {column!r} is empty, and must hold a number")
        return value

    def integer(self, column: str) -> int:
        """Return a whole number, which must be there."""
        return round(self.number(column))

    def scores(self, keys: Sequence[str]) -> dict[str, float | None]:
        """Return every column but ``keys``."""
        return {column: self.optional(column) for column in self.values if column not in keys}


def read_rows(path: Path, required: Sequence[str]) -> list[Row]:
    """Read a CSV file that has at least the columns ``required``.

    Raises:
        sslkit.errors.RunDirectoryError: if it is missing or lacks a column.
    """
    require_file(path)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        lacking = [column for column in required if column not in (reader.fieldnames or ())]
        if lacking:
            raise RunDirectoryError(
                f"{path} lacks the column(s) {', '.join(lacking)}; it has {reader.fieldnames or 'none'}."
            )
        return [
            Row(path, reader.line_num, {key: value for key, value in row.items() if key is not None}) for row in reader
        ]


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
