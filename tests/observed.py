"""What an observer is to have logged of a run, read from the run's own files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

Points = dict[str, dict[int, float]]
"""Values by tag and step."""

_PLACE = {"pretext", "arm", "fraction", "fold", "repetition", "labels", "test_images", "cell"}


def expected(root: Path) -> Points:
    """Return the points of the curves, of results.csv and of summary.csv."""
    points: Points = {}
    for tag, step, value in (*_epochs(root), *_cells(root), *_summary(root)):
        points.setdefault(tag, {})[step] = value
    return points


def _epochs(root: Path) -> Iterator[tuple[str, int, float]]:
    for path in root.glob("pretraining/*/*/metrics.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            for name in line.keys() & {"loss", "accuracy", "feature_spread", "effective_rank"}:
                yield f"{path.parent.relative_to(root)}/{name}", line["epoch"], line[name]


def _cells(root: Path) -> Iterator[tuple[str, int, float]]:
    for row in _rows(root / "results.csv"):
        series = f"fold-{row['fold']}-repetition-{row['repetition']}"
        for name in row.keys() - _PLACE:
            if row[name]:
                yield f"cells/{_line(row)}/{name}/{series}", int(row["labels"]), float(row[name])


def _summary(root: Path) -> Iterator[tuple[str, int, float]]:
    for row in _rows(root / "summary.csv"):
        for name in row.keys() - _PLACE - {"n", "undefined", "verdict"}:
            if row[name]:
                yield f"{name}/{_line(row)}", round(float(row["labels"])), float(row[name])


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def _line(row: dict[str, str]) -> str:
    return f"{row['pretext']}-{row['arm']}".removeprefix("-")
