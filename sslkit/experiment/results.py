"""From the cells' folders to results.csv and summary.csv."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from sslkit.checksums import successor
from sslkit.experiment.cell import CellJob
from sslkit.experiment.conclusions import DIFFERENCE_COLUMNS, add_differences
from sslkit.experiment.run_directory import RunDirectory
from sslkit.files import write_csv

Row = dict[str, Any]

_COORDINATES = ("pretext", "arm", "fraction", "fold", "repetition", "labels", "test_images", "cell")

_SUMMARY = (
    *("pretext", "arm", "fraction", "n", "undefined", "labels"),
    *("qwk_min", "qwk_mean", "qwk_max", "qwk_sd"),
)


def read_results(cells: Iterable[CellJob]) -> list[Row]:
    """Return the results of the cells that are done, in their order."""
    return [json.loads((cell.folder / "result.json").read_text(encoding="utf-8")) for cell in cells if cell.done]


def write_results(directory: RunDirectory, rows: Sequence[Row], num_classes: int) -> list[Row]:
    """Write the next results.csv and summary.csv, which are to be sealed; return the rows of the summary."""
    write_csv(successor(directory.results), result_columns(rows), rows)
    summary = summarise(rows)
    add_differences(summary, rows, directory, num_classes)
    write_csv(successor(directory.summary), summary_columns(rows), summary)
    return summary


def result_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns of results.csv, given its rows."""
    return [*_COORDINATES[:-1], *_metrics(rows), "cell"]


def summary_columns(rows: Sequence[Row]) -> list[str]:
    """Return the columns of summary.csv, given the rows of results.csv."""
    means = [f"{metric}_mean" for metric in _metrics(rows) if metric != "qwk"]
    return [*_SUMMARY, *DIFFERENCE_COLUMNS, *means]


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Return one row a pretext task, arm and share of labels.

    Repetitions are averaged within a fold first; minimum, mean, maximum and standard deviation are over folds.
    ``n`` counts the folds with a defined kappa, ``undefined`` the cells without one.
    """

    def key(row: Row) -> tuple[str, str, float]:
        return row["pretext"], row["arm"], row["fraction"]

    order = {name: number for number, name in enumerate(dict.fromkeys(key(row) for row in rows))}
    metrics = [name for name in _metrics(rows) if name != "qwk"]
    summary = []
    for name, group in groupby(sorted(rows, key=lambda row: order[key(row)]), key=key):
        cells = list(group)
        kappas = _by_fold(cells, "qwk")
        line: Row = dict(zip(("pretext", "arm", "fraction"), name, strict=True))
        line |= {
            "n": len(kappas),
            "undefined": sum(cell["qwk"] is None for cell in cells),
            "labels": statistics.fmean(cell["labels"] for cell in cells),
            "qwk_min": min(kappas, default=None),
            "qwk_mean": statistics.fmean(kappas) if kappas else None,
            "qwk_max": max(kappas, default=None),
            "qwk_sd": statistics.stdev(kappas) if len(kappas) > 1 else None,
        }
        for metric in metrics:
            values = _by_fold(cells, metric)
            line[f"{metric}_mean"] = statistics.fmean(values) if values else None
        summary.append(line)
    return summary


def _metrics(rows: Sequence[Row]) -> list[str]:
    return [name for name in (rows[0] if rows else ("qwk", "accuracy")) if name not in _COORDINATES]


def _by_fold(cells: Sequence[Row], metric: str) -> list[float]:
    by_fold: dict[int, list[float]] = {}
    for cell in cells:
        if cell[metric] is not None:
            by_fold.setdefault(cell["fold"], []).append(cell[metric])
    return [statistics.fmean(values) for values in by_fold.values()]
