"""Labels saved, differences and recall, as figures."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslkit.experiment.conclusions import add_differences, conclude
from sslkit.experiment.run_directory import RunDirectory
from sslkit.report.figures import draw_differences_by_share, draw_recall, draw_savings
from sslkit.report.savings import savings
from sslkit.report.sections.scores import difference_table
from sslkit.report.tables import Line, read_run
from sslkit.statistics import EquivalentShare, LabelsSaved

MakeRun = Callable[..., Path]
ROTATION = Line("rotation", "pretrained")


def typed(row: dict[str, str]) -> dict[str, Any]:
    texts, whole = ("pretext", "arm", "cell", "verdict"), ("fold", "repetition")
    return {k: v if k in texts else int(v) if k in whole else float(v) if v else None for k, v in row.items()}


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([{k: "" if v is None else v for k, v in row.items()} for row in rows])


def read_table(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [typed(row) for row in csv.DictReader(file)]


def helped(root: Path, gain: float = 0.1) -> list[dict[str, str]]:
    """Make pretraining help at the smallest share by nearly the same in all folds; return the run's conclusions."""
    rows = read_table(root / "results.csv")
    scratch = {(r["fraction"], r["fold"]): r["qwk"] for r in rows if r["arm"] == "scratch"}
    for row in rows:
        if row["arm"] == "pretrained" and row["fraction"] == 0.05:
            row["qwk"] = scratch[0.05, row["fold"]] + gain + 0.001 * row["fold"]
    write_table(root / "results.csv", rows)
    summary = read_table(root / "summary.csv")
    add_differences(summary, rows, RunDirectory(root), 5)
    write_table(root / "summary.csv", summary)
    return conclude(summary, rows)


def test_labels_saved_are_those_of_the_conclusions(make_run: MakeRun) -> None:
    root = make_run(fractions=[0.05, 0.25, 1.0], folds=4)
    sentence = helped(root)[0]["sentence"]
    run = read_run(root)
    found = savings(run)
    assert list(found) == [ROTATION]
    assert found[ROTATION].share == 0.05
    counted = f": {round(found[ROTATION].needed.labels_saved):,} labels saved"
    assert counted in sentence
    drawing = draw_savings(run)
    assert drawing is not None
    assert drawing.description == sentence.replace("pretraining by rotation", "rotation, pretrained")
    assert f"rotation, pretrained{counted}</text>" in drawing.standalone


def test_without_a_benefit_no_labels_are_counted(make_run: MakeRun) -> None:
    root = make_run(fractions=[0.05, 1.0], folds=4)
    helped(root, gain=-0.1)
    run = read_run(root)
    assert {row.verdict for row in run.summaries} >= {"harm"}
    assert savings(run) == {}
    assert draw_savings(run) is None


@pytest.mark.parametrize(
    ("bound", "said"),
    [("at", "120 labels saved"), ("above", "more than 120 labels saved"), ("below", "no labels saved")],
)
def test_what_lies_beyond_the_measured_is_said_so(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, bound: Any, said: str
) -> None:
    saved = LabelsSaved(0.1, EquivalentShare(1.0, bound, 120.4), None, None, 0.95, 3)
    monkeypatch.setattr("sslkit.report.figures.savings.savings", lambda run: {ROTATION: saved})
    drawing = draw_savings(read_run(make_run(fractions=[0.1, 1.0], folds=1)))
    assert drawing is not None
    assert f">rotation, pretrained: {said}</text>" in drawing.standalone


def test_the_verdict_is_marked_in_the_figure_of_differences(make_run: MakeRun) -> None:
    root = make_run(fractions=[0.05, 1.0], folds=4)
    untested = draw_differences_by_share(read_run(root))
    assert untested is not None
    assert ">benefit</text>" not in untested.standalone
    helped(root)
    tested = draw_differences_by_share(read_run(root))
    assert tested is not None
    assert tested.standalone.count(">benefit</text>") == 1
    assert "at 5 %, benefit" in tested.description


def test_no_p_is_said_to_be_zero(make_run: MakeRun) -> None:
    root = make_run(fractions=[0.05, 1.0], folds=5)
    helped(root)
    run = read_run(root)
    smallest = min(row.scores["p_holm"] or 1 for row in run.summaries if row.scores["p_holm"] is not None)
    assert 0 < smallest < 0.0005
    table = difference_table(run)
    assert "<td>&lt; 0.001</td>" in table
    assert "<td>0.000</td>" not in table


def test_differences_need_training_from_scratch(make_run: MakeRun) -> None:
    assert draw_differences_by_share(read_run(make_run(lines=[tuple(ROTATION)], fractions=[0.05], folds=2))) is None


def test_recall_of_each_grade_is_the_mean_over_folds(make_run: MakeRun) -> None:
    root = make_run(fractions=[0.05, 1.0], folds=2)
    drawing = draw_recall(read_run(root))
    assert drawing is not None
    rows = [r for r in read_table(root / "results.csv") if (r["arm"], r["fraction"]) == ("scratch", 1.0)]
    mean = sum(row["recall_4"] for row in rows) / len(rows)
    assert "scratch at 100 %: No_DR " in drawing.description
    assert f"Proliferate_DR {mean:.3f}." in drawing.description


def test_recall_is_not_drawn_of_more_arms_than_have_room(make_run: MakeRun) -> None:
    lines = [(f"task{k}", "pretrained") for k in range(6)] + [("", "scratch")]
    assert draw_recall(read_run(make_run(lines=lines, fractions=[0.05], folds=1))) is None


@pytest.mark.parametrize(
    "damage", ["another order", "a row twice", "a fold without end", "no pair at a share", "no pair at all"]
)
def test_tables_that_somebody_changed_cost_no_more_than_the_figure(make_run: MakeRun, damage: str) -> None:
    root = make_run(fractions=[0.05, 0.25, 1.0], folds=4)
    helped(root)
    expected = savings(read_run(root))[ROTATION].needed
    summary, results = read_table(root / "summary.csv"), read_table(root / "results.csv")
    if damage == "another order":
        summary.reverse()
    elif damage == "a row twice":
        summary.append(summary[0])
    elif damage == "a fold without end":
        results.append(results[0] | {"fold": 10**9})
    elif damage == "no pair at a share":
        results = [row for row in results if row["fraction"] != 0.25]
    else:
        results = [row for row in results if row["arm"] != "scratch"]
    write_table(root / "summary.csv", summary)
    write_table(root / "results.csv", results)
    found = savings(read_run(root))
    assert found == {} if damage.startswith("no pair") else found[ROTATION].needed == expected
