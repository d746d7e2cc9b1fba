"""What tables of text and of Parquet have in common: columns that options name, and a word for a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from sslkit.errors import DataError, did_you_mean
from sslkit.printable import listed, shown


def row_word(table: PurePath | str) -> str:
    """Return what messages call the place of a row in a table: ``"row"`` in Parquet, ``"line"`` in text.

    Example:
        >>> row_word("labels.parquet"), row_word("labels.csv")
        ('row', 'line')
    """
    return "row" if str(table).lower().endswith(".parquet") else "line"


def no_table(table: Path | str) -> DataError:
    """Return the error of a table that is not there, with the name of one that is."""
    path = table if isinstance(table, Path) else None
    others = [other.name for other in path.parent.glob(f"*{path.suffix}")] if path and path.parent.is_dir() else []
    return DataError(f"no table at {table}{did_you_mean(path.name, others) if path else ''}")


def unreadable(table: Path | str, error: OSError) -> DataError:
    """Return the error of a table that is there and cannot be read; what a store refuses names the table by itself."""
    return DataError(f"the table {table} cannot be read: {error.strerror}" if error.strerror else str(error))


def place_of(table: object, header: Sequence[str], option: str, name: str | None) -> int:
    """Return the place of a column that an option names; of the first column, where it names none.

    Raises:
        DataError: if there is no such column, or more than one.
    """
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
