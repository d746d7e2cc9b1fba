from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslkit.experiment.conclusions import DIFFERENCE_COLUMNS, add_differences, conclude
from sslkit.experiment.results import summarise
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.running import RunResult
from sslkit.metrics import quadratic_weighted_kappa
from sslkit.statistics import corrected_t, holm

ANY_CELL = 16 * "0"

Row = dict[str, Any]

FOLDS = 5
SHARES = (0.1, 0.5, 1.0)
# Folds differ in level; differences between arms need a spread as well, or there is no test.
LEVELS = (0.00, 0.03, -0.02, 0.01, -0.04)
SPREAD = (0.004, -0.003, 0.002, -0.004, 0.001)


def result(arm: str, fraction: float, fold: int, qwk: float | None, **changes: Any) -> Row:
    return {
        "pretext": "" if arm in ("scratch", "imagenet") else "rotation",
        "arm": arm,
        "fraction": fraction,
        "fold": fold,
        "repetition": 0,
        "labels": round(1000 * fraction),
        "test_images": 30,
        "qwk": qwk,
        "cell": ANY_CELL,
    } | changes


def curve(arm: str, means: Sequence[float], spread: Sequence[float] = (0.0,) * FOLDS, **changes: Any) -> list[Row]:
    return [
        result(arm, share, fold, mean + LEVELS[fold] + spread[fold], **changes)
        for share, mean in zip(SHARES, means, strict=True)
        for fold in range(FOLDS)
    ]


def predict(directory: RunDirectory, cell: str, targets: np.ndarray, predicted: np.ndarray) -> None:
    path = directory.cell(cell) / "predictions.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "group", "target", "predicted", "logit_0"])
        for number, (target, grade) in enumerate(zip(targets, predicted, strict=True)):
            writer.writerow([f"{number}", f"P{number // 2}", target, grade, 0.0])


@pytest.fixture
def summarised(tmp_path: Path) -> Callable[[list[Row]], list[Row]]:
    """Summarise rows whose cells all share one file of predictions."""
    directory = RunDirectory(tmp_path)
    targets = np.arange(30) % 5
    predict(directory, ANY_CELL, targets, np.where(np.arange(30) % 4, targets, 0))

    def summarise_rows(rows: list[Row]) -> list[Row]:
        summary = summarise(rows)
        add_differences(summary, rows, directory, num_classes=5)
        return summary

    return summarise_rows


def line_of(summary: list[Row], arm: str, fraction: float) -> Row:
    return next(line for line in summary if (line["arm"], line["fraction"]) == (arm, fraction))


def sentences(summary: list[Row], rows: list[Row]) -> list[str]:
    return [conclusion["sentence"] for conclusion in conclude(summary, rows)]


def test_differences_are_tested_over_folds_with_repetitions_averaged_first(
    summarised: Callable[[list[Row]], list[Row]],
) -> None:
    rng = np.random.default_rng(7)
    rows = [
        result(arm, share, fold, float(rng.normal(gain, 0.1)), repetition=repetition)
        for arm, gain in (("pretrained", 0.6), ("frozen", 0.3), ("scratch", 0.5))
        for share in SHARES
        for fold in range(FOLDS)
        # Folds with unlike numbers of repetitions: an average over cells would not be the average over folds.
        for repetition in range(1 + fold % 3)
    ]

    summary = summarised(rows)

    qwk = {tuple(row[key] for key in ("arm", "fraction", "fold", "repetition")): row["qwk"] for row in rows}
    for arm in ("pretrained", "frozen"):
        p_values = []
        for share in SHARES:
            differences = []
            for fold in range(FOLDS):
                total = 0.0
                for repetition in range(1 + fold % 3):
                    total += qwk[arm, share, fold, repetition] - qwk["scratch", share, fold, repetition]
                differences.append(total / (1 + fold % 3))
            expected = corrected_t(differences)
            line = line_of(summary, arm, share)
            assert [line[name] for name in ("delta", "delta_low", "delta_high", "p_value")] == pytest.approx(
                [expected.delta, expected.low, expected.high, expected.p_value]
            )
            p_values.append(expected.p_value)
        assert [line_of(summary, arm, share)["p_holm"] for share in SHARES] == pytest.approx(holm(p_values))


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.05, "benefit"), (-0.05, "harm"), (0.0001, "no difference shown")], ids=str
)
def test_the_verdict_is_what_was_planted(
    summarised: Callable[[list[Row]], list[Row]], gain: float, verdict: str
) -> None:
    rows = curve("pretrained", [0.4 + gain] * 3, SPREAD) + curve("scratch", [0.4] * 3)

    lines = [line for line in summarised(rows) if line["arm"] == "pretrained"]

    assert [line["verdict"] for line in lines] == [verdict] * 3
    assert all(line["delta_low"] < gain < line["delta_high"] for line in lines)


def test_the_baseline_and_runs_without_it_have_no_differences(summarised: Callable[[list[Row]], list[Row]]) -> None:
    pretrained, scratch = curve("pretrained", [0.5] * 3, SPREAD), curve("scratch", [0.4] * 3)

    beside = [line for line in summarised(pretrained + scratch) if line["arm"] == "scratch"]
    alone = summarised(pretrained)

    assert [line["fraction"] for line in beside + alone] == [*SHARES, *SHARES]
    for line in beside + alone:
        assert {line[name] for name in DIFFERENCE_COLUMNS[2:]} == {None}
        assert line["ci_low"] is not None
    assert conclude(alone, pretrained) == []


@pytest.mark.parametrize("undefined", ["pretrained", "scratch"])
def test_an_undefined_kappa_takes_its_partner_out_of_the_difference(
    summarised: Callable[[list[Row]], list[Row]], undefined: str
) -> None:
    rows = curve("pretrained", [0.5] * 3, SPREAD) + curve("scratch", [0.4] * 3)
    gone = next(row for row in rows if (row["arm"], row["fraction"], row["fold"]) == (undefined, 0.5, 2))
    gone["qwk"] = None

    summary = summarised(rows)

    expected = corrected_t([0.1 + SPREAD[fold] for fold in range(FOLDS) if fold != 2])
    line = line_of(summary, "pretrained", 0.5)
    assert (line["delta"], line["p_value"]) == (pytest.approx(expected.delta), pytest.approx(expected.p_value))
    assert line_of(summary, "pretrained", 1.0)["delta"] == pytest.approx(0.1 + np.mean(SPREAD))


def test_two_folds_that_differ_alike_claim_nothing(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = [result(arm, 1.0, fold, qwk) for arm, qwk in (("pretrained", 0.75), ("scratch", 0.5)) for fold in (0, 1)]

    line = line_of(summarised(rows), "pretrained", 1.0)

    assert (line["delta"], line["p_value"], line["p_holm"]) == (0.25, None, None)
    assert line["verdict"] == "no difference shown"


def test_the_interval_holds_the_mean(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    rng = np.random.default_rng(0)
    rows = []
    for fold in range(3):
        for repetition in range(2):
            targets = np.random.default_rng(fold).integers(0, 5, 80)
            predicted = np.clip(targets + rng.integers(-1, 2, 80), 0, 4)
            cell = f"{fold:08x}{repetition:08x}"
            predict(directory, cell, targets, predicted)
            qwk = quadratic_weighted_kappa(targets, predicted, 5)
            rows.append(result("scratch", 1.0, fold, qwk, repetition=repetition, cell=cell))
    summary = summarise(rows)

    add_differences(summary, rows, directory, num_classes=5)

    (line,) = summary
    assert line["ci_low"] < line["qwk_mean"] < line["ci_high"]
    assert line["ci_high"] - line["ci_low"] < 0.2


def test_labels_saved_are_told(summarised: Callable[[list[Row]], list[Row]]) -> None:
    # In every fold 10 % pretrained score what 50 % from scratch do.
    rows = [row for row in curve("scratch", [0.3, 0.5, 0.6]) if row["fraction"] > 0.1]
    rows += [row for row in curve("scratch", [0.3, 0.5, 0.6], SPREAD) if row["fraction"] == 0.1]
    rows += curve("pretrained", [0.5, 0.57, 0.61])

    assert sentences(summarised(rows), rows) == [
        "With 10 % of the labels, pretraining by rotation does as well as training from scratch on 50 % "
        "(95 % interval 50 to 50): 400 labels saved."
    ]


def test_labels_saved_beyond_what_was_measured_are_told(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("pretrained", [0.8, 0.85, 0.9], SPREAD) + curve("scratch", [0.3, 0.5, 0.6])

    assert sentences(summarised(rows), rows) == [
        "With 10 % of the labels, pretraining by rotation does better than training from scratch on 100 % "
        "(95 % interval > 100 % to > 100 %): more than 900 labels saved."
    ]


def test_harm_is_told_beside_a_benefit(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("pretrained", [0.7, 0.72, 0.74], SPREAD) + curve("scratch", [0.3, 0.5, 0.79])

    (sentence,) = sentences(summarised(rows), rows)

    assert sentence.startswith("With 10 % of the labels, pretraining by rotation does as well as training from scratch")
    assert sentence.endswith(
        " labels saved. But harm: with 100 % of the labels, pretraining by rotation does worse than scratch."
    )


def test_a_benefit_is_told_where_no_fold_has_every_share(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("pretrained", [0.6, 0.6, 0.6], SPREAD) + curve("scratch", [0.3, 0.6, 0.6])
    for row in rows:
        if row["fraction"] == 1.0:
            row["qwk"] = None

    assert sentences(summarised(rows), rows) == ["With 10 % of the labels, pretraining by rotation helps."]


def test_harm_is_told_with_its_shares(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("frozen", [0.2, 0.4, 0.6], SPREAD) + curve("scratch", [0.3, 0.5, 0.6])

    assert sentences(summarised(rows), rows) == [
        "Harm: with 10 %, 50 % of the labels, pretraining by rotation (frozen) does worse than scratch."
    ]


def test_no_difference_is_told_with_its_range(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("pretrained", [0.3, 0.5, 0.6], SPREAD) + curve("scratch", [0.3, 0.5, 0.6])

    assert sentences(summarised(rows), rows) == [
        "No difference shown: pretraining by rotation against training from scratch, on 10 % to 100 % of the labels."
    ]


def test_one_share_alone_is_told(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("pretrained", [0.3, 0.5, 0.6], SPREAD) + curve("scratch", [0.3, 0.5, 0.6])
    rows = [row for row in rows if row["fraction"] == 0.5]

    assert sentences(summarised(rows), rows) == [
        "No difference shown: pretraining by rotation against training from scratch, on 50 % of the labels."
    ]


def test_published_weights_are_called_by_their_name(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("imagenet", [0.2, 0.4, 0.5], SPREAD) + curve("scratch", [0.3, 0.5, 0.6])

    assert sentences(summarised(rows), rows) == [
        "Harm: with 10 %, 50 %, 100 % of the labels, starting from imagenet weights does worse than scratch."
    ]


def test_each_task_of_a_tournament_is_judged_by_itself(summarised: Callable[[list[Row]], list[Row]]) -> None:
    rows = curve("pretrained", [0.8, 0.85, 0.9], SPREAD, pretext="jigsaw")
    rows += curve("pretrained", [0.2, 0.4, 0.5], SPREAD, pretext="rotation")
    rows += curve("scratch", [0.3, 0.5, 0.6])

    summary = summarised(rows)
    conclusions = conclude(summary, rows)

    assert [(found["pretext"], found["arm"]) for found in conclusions] == [
        ("jigsaw", "pretrained"),
        ("rotation", "pretrained"),
    ]
    assert conclusions[0]["sentence"].startswith("With 10 % of the labels, pretraining by jigsaw does better than")
    assert conclusions[1]["sentence"].startswith("Harm: with 10 %, 50 %, 100 % of the labels, pretraining by rotation")
    # Holm counts the three shares of one task, not the six of both.
    for pretext in ("jigsaw", "rotation"):
        lines = [line for line in summary if line["pretext"] == pretext]
        assert [line["p_holm"] for line in lines] == holm([line["p_value"] for line in lines])


def test_a_run_writes_what_was_concluded(tiny_run: RunResult) -> None:
    with tiny_run.directory.summary.open(newline="") as file:
        lines = list(csv.DictReader(file))
    conclusions = json.loads(tiny_run.directory.run.read_text())["conclusions"]

    assert set(DIFFERENCE_COLUMNS) <= set(lines[0])
    for line in lines:
        assert (line["verdict"] == "") == (line["arm"] == "scratch")
        assert (line["delta"] == "") == (line["arm"] == "scratch")
    assert conclusions == conclude(tiny_run.summary, [json.loads(row.read_text()) for row in cells_of(tiny_run)])
    assert [(found["pretext"], found["arm"]) for found in conclusions] == [
        ("rotation", "pretrained"),
        ("rotation", "frozen"),
        ("rotation", "knn"),
    ]


def cells_of(run: RunResult) -> list[Path]:
    with run.directory.results.open(newline="") as file:
        return [run.directory.cell(row["cell"]) / "result.json" for row in csv.DictReader(file)]
