"""Reading a run directory, and the computations on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sslkit.errors import RunDirectoryError
from sslkit.report.comparison import SCRATCH, mean_curve, paired_difference
from sslkit.report.logs import read_confusion, read_curve
from sslkit.report.tables import Cell, Line, Run, read_run

PRETRAINED = Line("rotation", "pretrained")
MakeRun = Callable[..., Path]


def run_of(scores: dict[tuple[Line, int, int], float | None]) -> Run:
    cells = [Cell(line, 0.05, fold, repetition, 24, "c", {"qwk": s}) for (line, fold, repetition), s in scores.items()]
    return Run(Path("none"), {"class_names": ["a", "b"]}, {}, None, {}, tuple(cells), ())


KEYS = st.tuples(st.sampled_from([PRETRAINED, SCRATCH]), st.integers(0, 3), st.integers(0, 2))


@given(st.dictionaries(KEYS, st.none() | st.floats(-1, 1), max_size=24))
@hypothesis_settings(deadline=None, max_examples=100)
def test_paired_difference_equals_a_naive_loop(scores: dict[tuple[Line, int, int], float | None]) -> None:
    folds, unpaired = [], 0
    for fold in range(4):
        differences = []
        for repetition in range(3):
            if (PRETRAINED, fold, repetition) not in scores:
                continue
            mine, other = scores[PRETRAINED, fold, repetition], scores.get((SCRATCH, fold, repetition))
            if mine is None or other is None:
                unpaired += 1
            else:
                differences.append(mine - other)
        if differences:
            folds.append(fmean(differences))
    result = paired_difference(run_of(scores), PRETRAINED, 0.05)
    assert result.unpaired == unpaired
    assert list(result.by_fold.values()) == folds
    assert result.mean == (fmean(folds) if folds else None)


def test_a_fold_with_more_repetitions_weighs_no_more() -> None:
    scores: dict[tuple[Line, int, int], float | None] = {}
    for fold, repetition, gain in ((0, 0, 0.4), (0, 1, 0.4), (0, 2, 0.4), (1, 0, 0.0)):
        scores[PRETRAINED, fold, repetition], scores[SCRATCH, fold, repetition] = 0.5 + gain, 0.5
    assert paired_difference(run_of(scores), PRETRAINED, 0.05).mean == pytest.approx(0.2)


def test_a_line_against_itself_differs_by_nothing() -> None:
    assert paired_difference(run_of({(SCRATCH, 0, 0): 0.3, (SCRATCH, 1, 0): 0.5}), SCRATCH, 0.05).mean == 0


def test_mean_curve_averages_what_is_defined() -> None:
    curves = [
        [{"update": 1, "qwk": 0.2}, {"update": 2, "qwk": 0.4}],
        [{"update": 1}, {"update": 2, "qwk": 0.8}, {"qwk": 9.0}],
    ]
    assert mean_curve(curves, "update", "qwk") == {1: 0.2, 2: pytest.approx(0.6)}


def test_curve_without_a_file_is_empty(tmp_path: Path) -> None:
    assert read_curve(tmp_path / "metrics.jsonl") == []


def test_curve_leaves_out_undefined_values_and_a_cut_off_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"update": 1, "qwk": null, "accuracy": 0.5}\n{"update": 2, "qwk": NaN, "ok": true}\n{"update": 3, "q'
    )
    assert read_curve(path) == [{"update": 1, "accuracy": 0.5}, {"update": 2}]


@pytest.mark.parametrize(
    ("line", "reason"), [("{oops}\n", "line 2: not JSON"), ("[1]\n", "line 2: .* is not a JSON object")]
)
def test_malformed_curve_is_refused_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n' + line)
    with pytest.raises(RunDirectoryError, match=reason):
        read_curve(path)


def test_confusion_counts_each_prediction_once(make_run: MakeRun) -> None:
    run = read_run(make_run(fractions=[0.05], folds=2))
    cells = [cell for cell in run.cells if cell.line == SCRATCH]
    for cell, rows in zip(cells, (["0,1", "0,1", "4,4"], ["0,0", "4,3"]), strict=True):
        text = "image,target,predicted\n" + "".join(f"i,{row}\n" for row in rows)
        (run.directory / "cells" / cell.id / "predictions.csv").write_text(text)
    counts, missing = read_confusion(run, cells)
    expected = [[0] * 5 for _ in range(5)]
    expected[0][0], expected[0][1], expected[4][4], expected[4][3] = 1, 2, 1, 1
    assert counts == expected
    assert missing == []


def test_class_outside_the_range_is_refused(make_run: MakeRun) -> None:
    run = read_run(make_run(fractions=[0.05], folds=1))
    path = run.directory / "cells" / run.cells[0].id / "predictions.csv"
    path.write_text("image,target,predicted\ni,0,-1\n")
    with pytest.raises(
        RunDirectoryError, match=r"predictions.csv, line 2: target 0 and predicted -1 must both be in 0..4"
    ):
        read_confusion(run, [run.cells[0]])


def test_a_column_that_is_missing_is_named(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / "results.csv").write_text("pretext,arm,fraction\n")
    with pytest.raises(RunDirectoryError, match=r"results.csv lacks the column\(s\) fold, repetition, labels, cell"):
        read_run(run)


def test_a_primary_metric_that_is_no_column_is_named(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1, info={"primary_metric": "acuracy"})
    with pytest.raises(RunDirectoryError, match=r"no column 'acuracy'.*did you mean 'accuracy'"):
        read_run(run)


@pytest.mark.parametrize(
    ("value", "reason"), [("half", "'half', which is not a number"), ("", "is empty, and must hold a number")]
)
def test_a_malformed_number_is_refused_with_its_place(make_run: MakeRun, value: str, reason: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    text = (run / "results.csv").read_text().replace("rotation,pretrained,0.05", f"rotation,pretrained,{value}")
    (run / "results.csv").write_text(text)
    with pytest.raises(RunDirectoryError, match=rf"results.csv, line 2: column 'fraction'.*{reason}"):
        read_run(run)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        (json.dumps({"name": "x"}), "is not as 'sslkit run' writes it:\nclass_names: is required and missing"),
    ],
)
def test_malformed_run_json_is_refused(make_run: MakeRun, text: str, reason: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / "run.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=rf"run.json {reason}"):
        read_run(run)
