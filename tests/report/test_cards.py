from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslkit.config.card import CardConfig
from sslkit.report import write_report
from sslkit.report.cards.checklist import ITEMS
from sslkit.report.cards.facts import NO_DEVICE, NOT_PROVIDED
from sslkit.report.cards.writing import write_cards
from sslkit.report.tables import read_run

MakeRun = Callable[..., Path]


def read(run: Path, name: str) -> Any:
    (run / "report").mkdir(exist_ok=True)
    write_cards(read_run(run), run / "report")
    return json.loads((run / "report" / f"{name}.json").read_text())


def answers(run: Path) -> dict[str, dict[str, str]]:
    return {row["item"]: row for row in read(run, "checklist")}


def test_every_item_of_the_statement_stands_there_once() -> None:
    numbers = [item for item, *_ in ITEMS]
    assert len(numbers) == len(set(numbers))
    assert {"".join(filter(str.isdigit, number)) for number in numbers} == {str(number) for number in range(1, 28)}


def test_what_a_run_knows_is_filled_in_and_follows_it(make_run: MakeRun) -> None:
    filled = answers(make_run(fractions=[0.05, 1.0], folds=2))
    assert filled["10"]["answer"].startswith("3,662 images in 3,540 groups, 3,662 of them labelled: No_DR 1,805")
    assert filled["16"] == {
        "item": "16",
        "topic": "Training and evaluation",
        "asks": "how the two data sets differ",
        "status": "filled from the run",
        "answer": "Pretraining saw no test image of its fold, and no label.",
    }
    assert "Referable from Moderate" in filled["15"]["answer"]
    transductive = answers(make_run(fractions=[1.0], folds=2, info={"transductive": True, "positive_from": None}))
    assert transductive["16"]["answer"].startswith("Transductive")
    assert "Referable" not in transductive["15"]["answer"]


def test_what_nobody_said_is_not_provided(make_run: MakeRun) -> None:
    run = make_run(fractions=[1.0], folds=2)
    filled = answers(run)
    for item in ("3a", "5a", "5b", "6a", "8b", "14", "17", "18a", "19", "25"):
        assert (filled[item]["status"], filled[item]["answer"]) == ("not provided", NOT_PROVIDED)
    card = json.loads((run / "report" / "model_card.json").read_text())
    assert card["Ethical considerations"] == {"approval and consent": NOT_PROVIDED}
    assert card["Intended use"]["always"] == NO_DEVICE


def test_nothing_is_claimed_of_a_run_that_knows_nothing(make_run: MakeRun) -> None:
    run = make_run(fractions=[1.0], folds=2)
    (run / "config.toml").unlink()
    (run / "run.json").write_text(json.dumps({"class_names": []}))
    for name in ("results.csv", "summary.csv"):
        path = run / name
        path.write_text(path.read_text().splitlines()[0] + "\n")
    statuses = {row["status"] for row in answers(run).values()}
    assert statuses == {"not provided", "not applicable"}


@pytest.mark.parametrize("key", CardConfig.model_fields)
def test_what_the_configuration_states_is_quoted(make_run: MakeRun, key: str) -> None:
    run = make_run(fractions=[1.0], folds=2, info={"card": {key: f"stated of {key} <b>"}})
    everything = json.dumps([read(run, "checklist"), read(run, "model_card")])
    assert f"stated of {key}" in everything
    pages = [(run / "report" / f"{name}.html").read_text() for name in ("model_card", "checklist")]
    assert any(f"stated of {key} &lt;b&gt;" in page for page in pages)
    assert not any(f"stated of {key} <b>" in page for page in pages)


def test_what_is_doubtful_stands_among_the_caveats(make_run: MakeRun) -> None:
    probe = {"region": "border", "accuracy": 1.0, "low": 1.0, "high": 1.0, "chance": 0.25, "leak": True, "images": 9}
    run = make_run(fractions=[1.0], folds=2, info={"failed_jobs": [{"job": "cells/x", "reason": "y"}]})
    conflict = {"images": ["a", "b"], "grades": [0, 2]}
    audit = {
        "duplicates": {"identical": [], "near": [], "compared": 1, "method": "", "conflicts": [conflict]},
        "groups": {"given": 3, "joined": 2, "largest": 2, "with_several_grades": 1},
        "pretext_probes": {"rotation": [probe]},
        "label_probe": {"qwk": 0.321, "auroc": None},
    }
    (run / "audit.json").write_text(json.dumps(audit))
    card = read(run, "model_card")
    known = card["Caveats"]["known to the run"]
    for part in ("Synthetic", "Fold 3 at 5 %", "1 set of duplicate", "rotation can be told", "1 job failed"):
        assert part in known
    assert card["Results"]["figure to beat"].startswith("QWK 0.321 from global statistics")


def test_the_same_run_gives_the_same_bytes(make_run: MakeRun) -> None:
    run = make_run(fractions=[1.0], folds=2)
    contents = []
    for _ in range(2):
        write_report(run)
        contents.append([path.read_bytes() for path in sorted((run / "report").iterdir())])
    assert contents[0] == contents[1]


def test_results_are_those_of_the_summary(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05, 1.0], folds=2)
    rows = read(run, "model_card")["Results by share"]
    assert [(row["arm"], row["share"]) for row in rows] == [
        ("rotation, pretrained", 0.05),
        ("rotation, pretrained", 1.0),
        ("scratch", 0.05),
        ("scratch", 1.0),
    ]
    assert all(row["qwk_min"] <= row["qwk_mean"] <= row["qwk_max"] for row in rows)
