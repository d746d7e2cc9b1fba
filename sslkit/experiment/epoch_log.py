"""The log of a pretraining, metrics.jsonl: one line an epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NO_METRICS = (
    *("epoch", "update", "learning_rate", "seconds", "data_seconds", "views", "peak_memory", "processes"),
    "untrained_spread",
)
"""Keys of a line that are no metrics of its epoch."""


def metrics_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of an epoch, those that are finite.

    Example:
        >>> metrics_of({"epoch": 2, "learning_rate": 0.1, "loss": 0.7, "accuracy": None})
        {'loss': 0.7}
    """
    return {name: value for name, value in line.items() if name not in NO_METRICS and isinstance(value, int | float)}


def read_epochs(path: Path, job: str) -> list[dict[str, Any]]:
    """Return the epochs of a log as the run hooks are told of them; none where the log is missing or makes no sense.

    Args:
        path: the log.
        job: the id of the pretraining.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [{"job": job, "epoch": int(line["epoch"]), "metrics": metrics_of(line)} for line in lines]
    except (FileNotFoundError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return []  # where it was damaged, the pretraining is done anew, and tells of its epochs itself
