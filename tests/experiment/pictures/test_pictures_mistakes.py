from __future__ import annotations

import csv
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from studies import prepare_tiny

from sslkit.experiment.pictures.mistakes import Graded, cells_shown, find_mistakes


class CellOnDisk(SimpleNamespace):
    """What is asked of a cell: its fold and its folder."""

    fold: int
    folder: Path


def write_cell(root: Path, fold: int, rows: list[dict[str, Any]]) -> Any:
    folder = root / str(fold)
    folder.mkdir(parents=True)
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return CellOnDisk(fold=fold, folder=folder)


def drawn_rows(fold: int, seed: int, count: int = 60, classes: int = 5) -> list[dict[str, Any]]:
    rng = np.random.default_rng([fold, seed])
    rows = []
    for number in range(count):
        shares = rng.dirichlet(np.ones(classes)).round(1)  # few values, and so many ties
        target, predicted = rng.integers(classes, size=2).tolist()
        probabilities = {f"p_{k}": share for k, share in enumerate(shares.tolist())}
        rows.append({"image": f"{fold}-{number:03}", "target": target, "predicted": predicted, **probabilities})
    return rows


@pytest.mark.parametrize("classes", [5, 2])
@pytest.mark.parametrize("count", [0, 1, 12, 500])
def test_the_worst_are_those_that_a_naive_sort_puts_first(tmp_path: Path, count: int, classes: int) -> None:
    folds = {fold: drawn_rows(fold, 0, classes=classes) for fold in range(3)}
    cells = [write_cell(tmp_path / "own", fold, rows) for fold, rows in folds.items()]
    scratch = {fold: drawn_rows(fold, 1, classes=classes) for fold in (0, 2)}
    compared = [write_cell(tmp_path / "scratch", fold, rows) for fold, rows in scratch.items()]

    found = find_mistakes(cells, compared, count)

    rows = [(row, fold) for fold, own in folds.items() for row in own]
    wrong = [(row, fold) for row, fold in rows if row["predicted"] != row["target"]]
    wrong.sort(key=lambda at: at[0]["image"])
    wrong.sort(key=lambda at: at[0][f"p_{at[0]['predicted']}"], reverse=True)
    wrong.sort(key=lambda at: abs(at[0]["target"] - at[0]["predicted"]), reverse=True)
    assert (found.tested, found.wrong) == (180, len(wrong))
    assert found.worst == [
        Graded(
            row["image"], fold, row["target"], row["predicted"], row[f"p_{row['predicted']}"], row[f"p_{row['target']}"]
        )
        for row, fold in wrong[:count]
    ]
    said = {row["image"]: row["predicted"] for own in scratch.values() for row in own}
    assert found.from_scratch == {row["image"]: said[row["image"]] for row, fold in wrong[:count] if fold != 1}


def test_where_all_are_right_there_is_nothing_to_show(tmp_path: Path) -> None:
    rows = [row | {"predicted": row["target"]} for row in drawn_rows(0, 0)]
    found = find_mistakes([write_cell(tmp_path, 0, rows)], [], 12)
    assert (found.tested, found.wrong, found.worst) == (60, 0, [])


@pytest.mark.parametrize(
    ("arms", "arm", "compared"),
    [
        (["scratch", "knn", "pretrained", "frozen"], "pretrained", True),
        (["knn", "scratch", "frozen"], "frozen", True),
        (["scratch"], "scratch", False),
        (["knn"], "knn", False),
    ],
)
def test_whose_mistakes_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arms: list[str], arm: str, compared: bool
) -> None:
    monkeypatch.setattr("sslkit.experiment.cell.CellJob.done", property(lambda cell: cell.fold != 1))
    tasks = [{"name": "simclr"}, {"name": "rotation"}]
    cells = prepare_tiny(tmp_path, pretext=tasks, evaluation={"arms": arms, "repetitions": 2, "folds": 3}).jobs.cells
    evaluation = SimpleNamespace(arms=tuple(arms), label_fractions=(0.3, 1.0))
    study: Any = SimpleNamespace(config=SimpleNamespace(evaluation=evaluation), tasks=[SimpleNamespace(name="simclr")])

    own, scratch = cells_shown(study, cells)

    assert [(cell.arm, cell.fold, cell.repetition, cell.fraction) for cell in own] == [
        (arm, fold, 0, 1.0) for fold in (0, 2)
    ]
    assert {cell.pretext for cell in own} == ({"simclr"} if arm != "scratch" else {""})
    assert [(cell.arm, cell.fold) for cell in scratch] == ([("scratch", 0), ("scratch", 2)] if compared else [])
    assert all(math.isclose(cell.fraction, 1.0) and cell.repetition == 0 for cell in scratch)
