"""Reads tables of labels in Parquet, some rows at a time and only the columns that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from sslkit.data.columns import no_table, place_of, unreadable
from sslkit.errors import DataError
from sslkit.files import open_file
from sslkit.printable import shown
from sslkit.storage import StorageURL, open_object, reason

_ROWS = 2**16
"""Rows that are in memory at a time."""


def read_parquet(
    table: Path | StorageURL, columns: Mapping[str, str | None], options: Mapping[str, Any]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the number, from 1, and the cells asked for of each row, as texts that are stripped of blanks.

    Args:
        table: the file, or its URL.
        columns: the columns to read, by the option that names each; the first is the key, which no row may leave blank.
        options: what fsspec is given beside a URL.

    Raises:
        DataError: if the table is missing, no Parquet or without rows, lacks a column, or pyarrow is missing.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{table} needs pyarrow to be read: pip install 'sslkit[parquet]'") from None
    try:
        with _opened(table, options) as source:
            file = parquet.ParquetFile(source)
            yield from _rows(table, file, columns)
    except FileNotFoundError:
        raise no_table(table) from None
    except pyarrow.ArrowException as error:
        raise _damaged(table, error) from None
    except OSError as error:
        by_pyarrow = error.errno is None and str(table) not in str(error)  # which tells so of damage, too
        raise (_damaged if by_pyarrow else unreadable)(table, error) from None
    except Exception as error:
        if isinstance(table, Path) or isinstance(error, DataError):
            raise
        raise DataError(f"the table {table} cannot be read: {reason(error)}") from None  # by a store's library


def _damaged(table: Path | StorageURL, error: Exception) -> DataError:
    why = " ".join(str(error).split())
    return DataError(f"{table} is not a valid Parquet file: {shown(why)}; write it anew")


def _opened(table: Path | StorageURL, options: Mapping[str, Any]) -> AbstractContextManager[BinaryIO]:
    return open_file(table) if isinstance(table, Path) else open_object(table, options)


def _rows(table: object, file: Any, columns: Mapping[str, str | None]) -> Iterator[tuple[int, list[str]]]:
    header = list(file.schema_arrow.names)
    if not header:
        raise DataError(f"{table} has no columns")
    names = [header[place_of(table, header, option, name)] for option, name in columns.items()]
    for name in names:
        _check_type(table, name, file.schema_arrow.field(name).type)
    number = 0
    for batch in file.iter_batches(_ROWS, columns=list(dict.fromkeys(names)), use_threads=False):
        texts = [_texts(batch.column(name)) for name in names]
        for cells in zip(*texts, strict=True):
            number += 1
            if not cells[0]:
                raise DataError(f"{table}, row {number}: the cell of column {shown(names[0])} is blank")
            if any("\0" in cell for cell in cells):  # which neither a name of a file nor a label may hold
                raise DataError(f"{table}, row {number}: a null character, which no text holds; take it out")
            yield number, list(cells)
    if not number:
        raise DataError(f"{table} has no rows; it needs one for each image")


def _check_type(table: object, name: str, type_: Any) -> None:
    from pyarrow import types

    plain = type_.value_type if types.is_dictionary(type_) else type_
    accepted = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_floating)
    if not (types.is_null(plain) or any(accepts(plain) for accepts in accepted)):
        raise DataError(f"{table}: the column {shown(name)} is of type {plain}; accepted: texts and numbers")


def _texts(column: Any) -> list[str]:
    """Return cells as a table of text has them; a whole number among floats, as nulls make of integers, is whole."""
    return [
        ""
        if value is None or value != value
        else value.strip()
        if isinstance(value, str)
        else str(int(value))
        if isinstance(value, float) and value.is_integer()
        else str(value)
        for value in column.to_pylist()
    ]
