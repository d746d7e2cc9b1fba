"""A small table of named columns, which needs no other library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from sslkit.errors import did_you_mean
from sslkit.files import write_csv
from sslkit.printable import printable, shown

if TYPE_CHECKING:
    import pandas

Row = Mapping[str, Any]
"""Values by the names of their columns; None is undefined."""


class Table(Sequence[Row]):
    """Rows of a run's results; one is a mapping, and the whole is as a list of them.

    It is not changed once it is made: what narrows it returns another.

    Args:
        rows: the rows, in their order.
        columns: the names of the columns; by default those of the rows, in the order in which they first appear.

    Example:
        >>> table = Table([{"arm": "pretrained", "qwk_mean": 0.71}, {"arm": "scratch", "qwk_mean": None}])
        >>> table[0]["qwk_mean"], table.column("arm"), len(table.where(arm="scratch"))
        (0.71, ['pretrained', 'scratch'], 1)
        >>> print(table)
        arm         qwk_mean
        pretrained     0.710
        scratch
    """

    def __init__(self, rows: Iterable[Row] = (), columns: Iterable[str] | None = None) -> None:
        self._rows = tuple(dict(row) for row in rows)
        self._columns = tuple(
            dict.fromkeys(column for row in self._rows for column in row) if columns is None else columns
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self._columns

    def column(self, name: str) -> list[Any]:
        """Return the values of one column, row by row; None where one is undefined.

        Raises:
            ValueError: if there is no such column.
        """
        self._require(name)
        return [row.get(name) for row in self._rows]

    def where(self, **values: Any) -> Table:
        """Return the rows that have these values.

        Args:
            values: by column, such as ``arm="pretrained", fraction=0.1``.

        Raises:
            ValueError: if there is no such column.
        """
        self._require(*values)
        chosen = (row for row in self._rows if all(row.get(name) == value for name, value in values.items()))
        return Table(chosen, self._columns)

    def select(self, *names: str) -> Table:
        """Return the same rows with these columns alone, in this order.

        Raises:
            ValueError: if there is no such column.
        """
        self._require(*names)
        return Table(({name: row.get(name) for name in names} for row in self._rows), names)

    def to_csv(self, path: str | Path) -> None:
        """Write the table as a CSV file, atomically: undefined is empty, and floats keep all their digits."""
        write_csv(Path(path), self._columns, self._rows)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a data frame of pandas, which sslkit does not bring.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas() needs pandas, which is not installed: pip install pandas") from error
        return pandas.DataFrame(list(self._rows), columns=list(self._columns))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> Table: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | Table:
        if isinstance(index, slice):
            return Table(self._rows[index], self._columns)
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Table | list | tuple):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # its rows are dictionaries

    def __repr__(self) -> str:
        return f"<Table of {len(self)} rows: {', '.join(self._columns)}>"

    def __str__(self) -> str:
        texts = [list(self._columns), *([_text(row.get(name)) for name in self._columns] for row in self._rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        numeric = self._numeric()
        lines = (
            "  ".join(
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(line, widths, numeric, strict=True)
            )
            for line in texts
        )
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        styles = [f"text-align: {'right' if right else 'left'}" for right in self._numeric()]

        def line(tag: str, texts: Iterable[str]) -> str:
            cells = zip(texts, styles, strict=True)
            return "<tr>" + "".join(f'<{tag} style="{style}">{escape(text)}</{tag}>' for text, style in cells) + "</tr>"

        head = line("th", self._columns)
        body = "\n".join(line("td", (_text(row.get(name)) for name in self._columns)) for row in self._rows)
        return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"

    def _numeric(self) -> list[bool]:
        """Return of each column whether all that it holds are numbers."""
        held = [[value for value in self.column(name) if value is not None] for name in self._columns]
        return [bool(values) and all(isinstance(value, int | float) for value in values) for values in held]

    def _require(self, *names: str) -> None:
        for name in names:
            if name not in self._columns:
                advice = did_you_mean(name, self._columns) or "."
                raise ValueError(f"there is no column {shown(name)}{advice} There are: {', '.join(self._columns)}")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value), keep="")
