"""Reads a run directory: nothing here computes, and nothing is read but its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sslkit.checksums import SUMS, require
from sslkit.errors import RunDirectoryError, did_you_mean
from sslkit.experiment.run_directory import CELL_ID
from sslkit.printable import printable
from sslkit.report.rows import Row, read_rows, require_file
from sslkit.report.shapes import AuditFile, ConfigFile, RunFile, read_shape

_CELL_KEYS = ("pretext", "arm", "fraction", "fold", "repetition", "labels", "cell")
_SUMMARY_KEYS = ("pretext", "arm", "fraction", "n", "undefined", "labels")


class Line(NamedTuple):
    """A pretext task and an arm: one line of a figure; ``pretext`` is empty for arms that use none."""

    pretext: str
    arm: str

    @property
    def label(self) -> str:
        """How the report calls it."""
        return f"{self.pretext}, {self.arm}" if self.pretext else self.arm


@dataclass(frozen=True)
class Cell:
    """A row of results.csv; ``scores`` holds its metric columns, None where undefined."""

    line: Line
    fraction: float
    fold: int
    repetition: int
    labels: float | None
    id: str
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Summary:
    """A row of summary.csv; ``scores`` holds its metric columns, None where undefined."""

    line: Line
    fraction: float
    n: int
    undefined: int
    labels: float | None
    scores: Mapping[str, float | None]
    verdict: str


@dataclass(frozen=True)
class Run:
    """What a report is made from.

    Attributes:
        directory: the run directory.
        info: run.json.
        audit: audit.json; empty where the file is missing.
        config: the text of config.toml; None where the file is missing.
        tables: what config.toml holds; empty where it is missing.
        cells: the rows of results.csv, in their order.
        summaries: the rows of summary.csv, in their order.
    """

    directory: Path
    info: Mapping[str, Any]
    audit: Mapping[str, Any]
    config: str | None
    tables: Mapping[str, Any]
    cells: tuple[Cell, ...]
    summaries: tuple[Summary, ...]

    @property
    def class_names(self) -> list[str]:
        """Names of the K classes, in the order of their grades."""
        return [str(name) for name in self.info["class_names"]]

    @property
    def metric(self) -> str:
        """The column of results.csv that the report leads with."""
        return str(self.info.get("primary_metric") or "qwk")

    @property
    def fractions(self) -> list[float]:
        """The shares of the labels that have a cell, ascending."""
        return sorted({cell.fraction for cell in self.cells})

    @property
    def lines(self) -> list[Line]:
        """Every line that has a cell, in the order of results.csv, those without a pretext task last."""
        return sorted(dict.fromkeys(cell.line for cell in self.cells), key=lambda line: not line.pretext)

    def summary(self, line: Line, fraction: float) -> Summary | None:
        """Return the row of summary.csv, or None where there is none."""
        return next((row for row in self.summaries if (row.line, row.fraction) == (line, fraction)), None)


def read_run(directory: Path) -> Run:
    """Read the tables of a run directory.

    Raises:
        sslkit.errors.RunDirectoryError: if it, run.json, results.csv or summary.csv is missing or malformed.
    """
    if not directory.is_dir():
        raise RunDirectoryError(
            f"{directory} is not a run directory: there is no such folder. "
            "Give the folder that 'sslkit run' wrote to (its --output)."
        )
    require_file(directory / "run.json")
    _check_seal(directory)
    info = read_shape(directory / "run.json", RunFile)
    audit, config = directory / "audit.json", directory / "config.toml"
    tables = read_shape(config, ConfigFile) if config.is_file() else {}
    cells = tuple(_cell(row) for row in read_rows(directory / "results.csv", _CELL_KEYS))
    metric = str(info.get("primary_metric") or "qwk")
    if cells and metric not in cells[0].scores:
        raise RunDirectoryError(
            f"{directory / 'results.csv'} has no column {metric!r}, which run.json calls the primary metric"
            f"{did_you_mean(metric, cells[0].scores)}; it has {', '.join(cells[0].scores)}."
        )
    for cell in cells:
        _check_seal(directory / "cells" / cell.id)
    return Run(
        directory=directory,
        info=info,
        audit=read_shape(audit, AuditFile) if audit.is_file() else {},
        config=printable(config.read_text(encoding="utf-8")) if config.is_file() else None,
        tables=tables,
        cells=cells,
        summaries=tuple(_summary(row) for row in read_rows(directory / "summary.csv", _SUMMARY_KEYS)),
    )


def _check_seal(folder: Path) -> None:
    """Refuse a folder whose files are no more what its checksums vouch for; one without checksums passes.

    Raises:
        sslkit.errors.RunDirectoryError: naming the files.
    """
    if (folder / SUMS).exists():
        require(folder)


def _cell(row: Row) -> Cell:
    if not CELL_ID.fullmatch(row.values["cell"]):  # it names a folder that is read
        raise row.error(f"column 'cell' holds {row.values['cell']!r}, which is not the 16 hex digits of a cell")
    return Cell(
        line=Line(row.values["pretext"], row.values["arm"]),
        fraction=row.share("fraction"),
        fold=row.integer("fold"),
        repetition=row.integer("repetition"),
        labels=row.optional("labels"),
        id=row.values["cell"],
        scores=row.scores(_CELL_KEYS),
    )


def _summary(row: Row) -> Summary:
    return Summary(
        line=Line(row.values["pretext"], row.values["arm"]),
        fraction=row.share("fraction"),
        n=row.integer("n"),
        undefined=row.integer("undefined"),
        labels=row.optional("labels"),
        scores=row.scores((*_SUMMARY_KEYS, "verdict")),
        verdict=row.values.get("verdict", ""),
    )
