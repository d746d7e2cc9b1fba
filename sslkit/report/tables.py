"""Reads a run directory: nothing here computes, and nothing is read but its files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sslkit.errors import RunDirectoryError, did_you_mean

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


@dataclass(frozen=True)
class Run:
    """What a report is made from.

    Attributes:
        directory: the run directory.
        info: run.json.
        config: the text of config.toml; None where the file is missing.
        cells: the rows of results.csv, in their order.
        summaries: the rows of summary.csv, in their order.
    """

    directory: Path
    info: Mapping[str, Any]
    config: str | None
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
        sslkit.errors.RunDirectoryError: if it, or one of run.json, results.csv and summary.csv, is missing or malformed.
    """
    if not directory.is_dir():
        raise RunDirectoryError(
            f"{directory} is not a run directory: there is no such folder. Give the folder that 'sslkit run' wrote to (its --output)."
        )
    info = _read_info(directory / "run.json")
    config = directory / "config.toml"
    cells = tuple(_cell(row) for row in _read_csv(directory / "results.csv", _CELL_KEYS))
    metric = str(info.get("primary_metric") or "qwk")
    if cells and metric not in cells[0].scores:
        raise RunDirectoryError(
            f"{directory / 'results.csv'} has no column {metric!r}, which run.json calls the primary metric"
            f"{did_you_mean(metric, cells[0].scores)}; it has {', '.join(cells[0].scores)}."
        )
    return Run(
        directory=directory,
        info=info,
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        cells=cells,
        summaries=tuple(_summary(row) for row in _read_csv(directory / "summary.csv", _SUMMARY_KEYS)),
    )


def read_confusion(run: Run, cells: list[Cell]) -> tuple[list[list[int]], list[str]]:
    """Count predictions of several cells together.

    Returns:
        K lists of K counts (row: true class, column: predicted), and the ids of cells without a predictions.csv.

    Raises:
        sslkit.errors.RunDirectoryError: if a class is not in 0..K-1.
    """
    size = len(run.class_names)
    counts = [[0] * size for _ in range(size)]
    missing = []
    for cell in cells:
        path = run.directory / "cells" / cell.id / "predictions.csv"
        if not path.is_file():
            missing.append(cell.id)
            continue
        for row in _read_csv(path, ("target", "predicted")):
            target, predicted = row.integer("target"), row.integer("predicted")
            if not (0 <= target < size and 0 <= predicted < size):
                raise row.error(f"target {target} and predicted {predicted} must both be in 0..{size - 1}")
            counts[target][predicted] += 1
    return counts, missing


def read_curve(path: Path) -> list[dict[str, float]]:
    """Read a metrics.jsonl: one mapping a line, without the values that are undefined; empty where there is no file.

    A last line that was cut off, as a process that died leaves it, is left out.

    Raises:
        sslkit.errors.RunDirectoryError: if a whole line is not a JSON object.
    """
    if not path.is_file():
        return []
    curve = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), start=1):
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            if not line.endswith("\n"):
                break
            raise RunDirectoryError(f"{path}, line {number}: not JSON ({error}). Run the job again.") from error
        if not isinstance(values, dict):
            raise RunDirectoryError(f"{path}, line {number}: {line.strip()!r} is not a JSON object. Run the job again.")
        curve.append({key: float(value) for key, value in values.items() if _is_finite(value)})
    return curve


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class _Row:
    path: Path
    number: int
    values: Mapping[str, str]

    def error(self, reason: str) -> RunDirectoryError:
        return RunDirectoryError(
            f"{self.path}, line {self.number}: {reason}. Was the file edited? 'sslkit run' with the same --output writes it again."
        )

    def number_or_none(self, column: str) -> float | None:
        text = self.values[column]
        try:
            value = float(text) if text else math.nan
        except ValueError as error:
            raise self.error(f"column {column!r} holds {text!r}, which is not a number") from error
        return value if math.isfinite(value) else None

    def number_(self, column: str) -> float:
        value = self.number_or_none(column)
        if value is None:
            raise self.error(f"column {column!r} is empty, and must hold a number")
        return value

    def integer(self, column: str) -> int:
        return round(self.number_(column))

    def scores(self, keys: tuple[str, ...]) -> dict[str, float | None]:
        return {column: self.number_or_none(column) for column in self.values if column not in keys}


def _read_info(path: Path) -> Mapping[str, Any]:
    _require(path)
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise RunDirectoryError(f"{path} is not JSON ({error}). Run 'sslkit run' again.") from error
    if not isinstance(info, dict) or not isinstance(info.get("class_names"), list):
        raise RunDirectoryError(f"{path} has no list 'class_names'; it was not written by 'sslkit run'.")
    return info


def _read_csv(path: Path, required: tuple[str, ...]) -> list[_Row]:
    _require(path)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        lacking = [column for column in required if column not in (reader.fieldnames or ())]
        if lacking:
            raise RunDirectoryError(
                f"{path} lacks the column(s) {', '.join(lacking)}; it has {reader.fieldnames or 'none'}."
            )
        return [
            _Row(path, reader.line_num, {key: value for key, value in row.items() if key is not None}) for row in reader
        ]


def _require(path: Path) -> None:
    if not path.is_file():
        raise RunDirectoryError(
            f"{path.parent} has no {path.name}: the run has not got that far, or this is no run directory. "
            "'sslkit run' with the same --output does what is missing."
        )


def _cell(row: _Row) -> Cell:
    return Cell(
        line=Line(row.values["pretext"], row.values["arm"]),
        fraction=row.number_("fraction"),
        fold=row.integer("fold"),
        repetition=row.integer("repetition"),
        labels=row.number_or_none("labels"),
        id=row.values["cell"],
        scores=row.scores(_CELL_KEYS),
    )


def _summary(row: _Row) -> Summary:
    return Summary(
        line=Line(row.values["pretext"], row.values["arm"]),
        fraction=row.number_("fraction"),
        n=row.integer("n"),
        undefined=row.integer("undefined"),
        labels=row.number_or_none("labels"),
        scores=row.scores(_SUMMARY_KEYS),
    )
