from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sslkit.experiment.epoch_log import metrics_of, read_epochs
from sslkit.experiment.running import RunResult


def test_a_log_is_read_as_the_hooks_were_told(tiny_run: RunResult) -> None:
    folder = tiny_run.directory.pretraining("rotation", 1)
    epochs = read_epochs(folder / "metrics.jsonl", "pretraining/rotation/1")
    assert [(epoch["job"], epoch["epoch"]) for epoch in epochs] == [
        ("pretraining/rotation/1", 1),
        ("pretraining/rotation/1", 2),
    ]
    assert all({"loss", "accuracy"} <= epoch["metrics"].keys() for epoch in epochs)


def test_metrics_are_what_is_neither_bookkeeping_nor_undefined() -> None:
    line = {"epoch": 1, "update": 9, "learning_rate": 0.1, "seconds": 2.0, "data_seconds": 1.0, "untrained_spread": 0.5}
    assert metrics_of({**line, "loss": np.float64(0.5), "accuracy": None, "rank": 2}) == {"loss": 0.5, "rank": 2}


@pytest.mark.parametrize("text", [None, "{", "[1]\n", '{"loss": 1.0}\n', '{"epoch": "x"}\n', "[" * 100_000])
def test_a_log_that_makes_no_sense_is_none(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    assert read_epochs(tmp_path / "metrics.jsonl", "a") == []
