"""Reads what single jobs of a run left behind: curves and predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sslkit.errors import RunDirectoryError
from sslkit.printable import printable
from sslkit.report.rows import read_rows
from sslkit.report.shapes import WeightsFile, read_shape
from sslkit.report.tables import Cell, Run

_LARGEST = 1e30
"""Values of a curve beyond it are left out: a loss has diverged long before, and no axis would hold them."""


def read_confusion(run: Run, cells: Sequence[Cell]) -> tuple[list[list[int]], list[str]]:
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
        for row in read_rows(path, ("target", "predicted")):
            target, predicted = row.integer("target"), row.integer("predicted")
            if not (0 <= target < size and 0 <= predicted < size):
                raise row.error(f"target {target} and predicted {predicted} must both be in 0..{size - 1}")
            counts[target][predicted] += 1
    return counts, missing


def read_confidences(run: Run, cells: Sequence[Cell]) -> tuple[list[float], list[bool]]:
    """Return the probability of each predicted class, and whether it was right, of several cells together.

    Cells without a predictions.csv are left out.

    Raises:
        sslkit.errors.RunDirectoryError: if a predicted class has no probability.
    """
    confidences, right = [], []
    for cell in cells:
        path = run.directory / "cells" / cell.id / "predictions.csv"
        for row in read_rows(path, ("target", "predicted")) if path.is_file() else ():
            predicted = row.integer("predicted")
            if f"p_{predicted}" not in row.values:
                raise row.error(f"there is no column p_{predicted} for the predicted class {predicted}")
            confidences.append(row.number(f"p_{predicted}"))
            right.append(predicted == row.integer("target"))
    return confidences, right


def read_curve(path: Path) -> list[dict[str, float]]:
    """Read a metrics.jsonl: one mapping a line, without values that no axis could show; empty where there is no file.

    A last line that was cut off, as a process that died leaves it, is left out.

    Raises:
        sslkit.errors.RunDirectoryError: if a whole line is not a JSON object.
    """
    if not path.is_file():
        return []
    curve = []
    for number, line in enumerate(_text(path).splitlines(keepends=True), start=1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:  # no JSON, or a number or nesting beyond all measure
            if not line.endswith("\n"):
                break
            raise RunDirectoryError(f"{path}, line {number}: not JSON ({error}). Run the job again.") from error
        if not isinstance(values, dict):
            raise RunDirectoryError(f"{path}, line {number}: {line.strip()!r} is not a JSON object. Run the job again.")
        curve.append({printable(key): float(value) for key, value in values.items() if _can_be_drawn(value)})
    return curve


def read_pretrainings(run: Run, task: str) -> dict[str, list[dict[str, float]]]:
    """Return the log of each pretraining of a task by its fold or ``"all"``; those without one are left out."""
    # The task's name may come from a table: it is looked for among the folders, and never made into a path.
    tasks = [folder for folder in folders_in(run.directory / "pretraining") if folder.name == task]
    curves = {fold.name: read_curve(fold / "metrics.jsonl") for folder in tasks for fold in folders_in(folder)}
    return {fold: curve for fold, curve in curves.items() if curve}


def folders_in(root: Path) -> list[Path]:
    """Return the folders in a folder, by name; one whose name would steer a terminal is not the toolkit's."""
    paths = root.iterdir() if root.is_dir() else ()
    return sorted(path for path in paths if path.is_dir() and printable(path.name, keep="") == path.name)


def read_kept_epoch(folder: Path) -> int | None:
    """Return the epoch whose weights a pretraining has kept; None where it has not got that far.

    Raises:
        sslkit.errors.RunDirectoryError: if its config.json is none.
    """
    path = folder / "config.json"
    return read_shape(path, WeightsFile).get("sslkit", {}).get("epoch") if path.is_file() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunDirectoryError(f"{path} is not UTF-8 text ({error}). Run the job again.") from error


def _can_be_drawn(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
