from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from sslkit.experiment.running import RunResult
from sslkit.metrics import sensitivity_specificity, youden_threshold


def read_cells(root: Path) -> list[tuple[dict, list[dict[str, str]]]]:
    cells = []
    for folder in sorted((root / "cells").iterdir()):
        with (folder / "predictions.csv").open(newline="") as file:
            cells.append((json.loads((folder / "result.json").read_text()), list(csv.DictReader(file))))
    return cells


def referable(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([sum(np.float32(row[f"p_{k}"]).astype(float) for k in (2, 3, 4)) for row in rows])


def positive(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([int(row["target"]) >= 2 for row in rows])


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("arm", ["pretrained", "scratch", "frozen", "knn"])
def test_a_threshold_comes_from_a_cells_own_labels_as_the_other_folds_models_score_them(
    tiny_run: RunResult, arm: str, share: float
) -> None:
    cells = {
        result["fold"]: (result, rows)
        for result, rows in read_cells(tiny_run.directory.root)
        if (result["arm"], result["fraction"]) == (arm, share)
    }
    orders = {entry["fold"]: entry for entry in json.loads(tiny_run.directory.splits.read_text())["labelled"]}
    assert cells.keys() == {0, 1}
    for fold, (result, rows) in cells.items():
        labelled = orders[fold]["order"][: orders[fold]["labels"][str(share)]]
        others = [row for row in cells[1 - fold][1] if row["image"] in labelled]
        assert len(others) == len(labelled) == result["labels"]
        expected = youden_threshold(positive(others), referable(others))
        assert result["referable_threshold"] == pytest.approx(expected, abs=1e-6)
        found = sensitivity_specificity(positive(rows), referable(rows) >= expected)
        assert (result["referable_sensitivity"], result["referable_specificity"]) == found
