from __future__ import annotations

import sys

import pytest
from manual import ROOT, load

sys.path.append(str(ROOT / "docs"))  # as for a program that lies there
scale = load("scale")

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("epochs", "workers"), [(200, 16), (20, 64)])
def test_the_tables_are_those_of_the_program(epochs: int, workers: int) -> None:
    tables = PAGE.split(scale.BEGIN)[1].split(scale.END)[0].split(f"{epochs} epochs:")[1]
    assert scale.row(scale.times(), epochs, workers) in tables.splitlines()


@pytest.mark.slow
def test_the_page_is_what_the_program_writes() -> None:
    assert scale.written(PAGE) == PAGE


def test_the_simulated_study_is_the_one_that_the_page_describes() -> None:
    tasks = scale.study(scale.times())
    waiting = [task for task in tasks if task.after]
    assert (len(tasks), len(waiting)) == (255, 125)
    assert {task.after[0] for task in waiting} == {f"pretraining/{fold}" for fold in range(5)}
    alone = sum(task.seconds for task in tasks) / 3600
    assert scale.hours(tasks, scale.World(1)) == pytest.approx(alone)
    assert scale.bound(tasks, 1) == pytest.approx(alone)
    assert scale.bound(tasks, 512) == pytest.approx(scale.hours(tasks, scale.World(512)))


def test_several_processes_shorten_a_pretraining_and_lose_some_of_their_pace() -> None:
    one, eight = scale.study(scale.times())[0], scale.study(scale.times(), processes=8)[0]
    assert eight.processes == 8
    assert one.seconds / eight.seconds == pytest.approx(8 * scale.KEPT**3)


def test_reality_agreed_within_five_per_cent() -> None:
    runs = scale.times()["runs"]
    assert {run["workers"] for run in runs} == {1, 2}
    for run in runs:
        assert run["simulated"] == pytest.approx(run["measured"], rel=0.05)
        assert f"{run['measured']:.0f} s" in PAGE
