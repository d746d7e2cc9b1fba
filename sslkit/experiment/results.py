"""From the cells' folders to results.csv and summary.csv."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from sslkit.experiment.cell import CellJob
from sslkit.experiment.conclusions import DIFFERENCE_COLUMNS, add_differences
from sslkit.experiment.plan import Study
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.scoring import ScoredImages, read_predictions, score, write_predictions
from sslkit.files import write_atomically, write_csv, write_json
from sslkit.interfaces import DownstreamHead

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
    """Write results.csv and summary.csv; return the rows of the summary."""
    columns = [*_COORDINATES[:-1], *_metrics(rows), "cell"]
    write_csv(directory.results, columns, rows)
    summary = summarise(rows)
    add_differences(summary, rows, directory, num_classes)
    means = [f"{metric}_mean" for metric in _metrics(rows) if metric != "qwk"]
    write_csv(directory.summary, [*_SUMMARY, *DIFFERENCE_COLUMNS, *means], summary)
    return summary


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


def cross_fit(study: Study, cells: Sequence[CellJob]) -> None:
    """Fit each head to scores of images that its cell has labels of, and rewrite the cells' results.

    Each image is scored by the cell that tested it (same task, arm, share and repetition), never by one that learnt
    from it; only images within the cell's own labels are used. A cell whose images no cell has scored keeps the
    head's fixed decoding.
    """
    if not study.make_head().cross_fitted:
        return

    def key(cell: CellJob) -> tuple[str, str, float, int]:
        return cell.pretext, cell.arm, cell.fraction, cell.repetition

    # Votes of neighbours are decoded without the head.
    done = sorted((cell for cell in cells if cell.done and cell.arm != "knn"), key=key)
    for _, group in groupby(done, key=key):
        members = list(group)
        scored = {cell.cell_id: read_predictions(cell.folder / "predictions.csv") for cell in members}
        logits_of = {
            name: logits for images in scored.values() for name, logits in zip(images.ids, images.logits, strict=True)
        }
        for cell in members:
            _fit_one(study.make_head(), cell, scored[cell.cell_id], logits_of)


def _fit_one(
    head: DownstreamHead[Any], cell: CellJob, images: ScoredImages, logits_of: dict[str, torch.Tensor]
) -> None:
    rows = [row for row in cell.training_rows if cell.recipe.ids[row] in logits_of]
    before = {name: value.clone() for name, value in head.named_buffers()}
    if rows:
        logits = torch.stack([logits_of[cell.recipe.ids[row]] for row in rows])
        head.fit(logits, torch.from_numpy(cell.recipe.grades[np.array(rows)]))
    buffers = dict(head.named_buffers())
    fitted = {name: value.contiguous() for name, value in buffers.items() if not torch.equal(value, before[name])}
    write_atomically(cell.folder / "fitted.safetensors", lambda file: file.write(save(fitted)))
    predictions = cell.folder / "predictions.csv"
    write_predictions(predictions, head, images.logits, images.ids, images.groups, images.targets)
    result = {**cell.coordinates, **score(head, images.logits, images.targets), "cell": cell.cell_id}
    write_json(cell.folder / "result.json", result)


def _metrics(rows: Sequence[Row]) -> list[str]:
    return [name for name in (rows[0] if rows else ("qwk", "accuracy")) if name not in _COORDINATES]


def _by_fold(cells: Sequence[Row], metric: str) -> list[float]:
    by_fold: dict[int, list[float]] = {}
    for cell in cells:
        if cell[metric] is not None:
            by_fold.setdefault(cell["fold"], []).append(cell[metric])
    return [statistics.fmean(values) for values in by_fold.values()]
