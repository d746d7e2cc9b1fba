from __future__ import annotations

import io

import pytest
from rich.console import Console

from sslkit.cli.display.forecast import show_forecast
from sslkit.experiment.forecast import Forecast, OnWorkers, Wave

WAVES = (
    Wave("pretraining", "rotation", "", 5, 2, "", 2.5),
    Wave("cells", "rotation", "pretrained", 125, 100, "pretraining", 0.05),
    Wave("cells", "", "scratch", 125, 0, "", 0.0),
)
ENDS = (OnWorkers(2, True, 7.5, 0.99), OnWorkers(64, False, 2.55, 0.06))
CHAIN = ("pretraining/rotation/3", "cells/0123456789abcdef")


def shown(found: Forecast, unknown: str = "", device: str = "cpu", *, terminal: bool = False, width: int = 80) -> str:
    screen = io.StringIO()
    console = Console(file=screen, width=width, force_terminal=terminal, markup=False, color_system=None)
    show_forecast(console, found, unknown, device)
    return screen.getvalue()


def hours(**changes: object) -> Forecast:
    return Forecast(**{**vars(Forecast("bench", "hours", WAVES, ENDS, CHAIN, 2.55, 4, 10.25)), **changes})  # type: ignore[arg-type]


def test_jobs_hours_and_what_bounds_them() -> None:
    lines = [" ".join(line.split()) for line in shown(hours()).splitlines()]

    assert "pretraining rotation 5 3 2 2 h 30 min nothing" in lines
    assert "cells rotation pretrained 125 25 100 3 min pretraining" in lines
    assert "cells scratch 125 125 0 nothing" in lines
    assert "2 this machine 7 h 30 min 99%" in lines
    assert "64 2 h 33 min 6%" in lines
    told = " ".join(lines)
    assert "as 'sslkit bench' measured on this machine" in told
    assert "Critical path: pretraining by rotation, fold 3 → a cell, 2 h 33 min." in told
    assert "and 4 will do. In all 10.2 core-hours." in told


def test_gpus_have_gpu_hours() -> None:
    assert "GPU-hours" in shown(hours(), device="cuda")


def test_the_times_of_the_run_itself_are_named() -> None:
    assert "by the times of the jobs in the run directory" in shown(hours(basis="run"))


def test_without_a_measurement_it_says_what_to_run() -> None:
    told = " ".join(shown(hours(basis="cost", unit="thousand images")).split())

    assert "for hours run 'sslkit bench CONFIG'" in told
    assert "10.2 thousand images" in told
    assert "slurm" not in told


def test_large_numbers_are_written_out() -> None:
    told = " ".join(shown(hours(basis="cost", unit="thousand images", total=1694.4)).split())

    assert "In all 1,694 thousand images." in told


def test_what_is_not_known_to_be_done_is_a_question() -> None:
    told = shown(hours(), unknown="run.json there is damaged")

    assert "All count as missing: run.json there is damaged." in told
    assert [line.split()[3] for line in told.splitlines() if line.startswith("pretraining")] == ["?"]


def test_where_nothing_is_missing_no_time_is_told() -> None:
    told = shown(hours(critical_path=(), total=0.0))

    assert "Nothing is missing" in told
    assert "workers" not in told


def test_bars_are_drawn_in_a_terminal_alone() -> None:
    assert "━" not in shown(hours())
    (own, far) = [line.count("━") for line in shown(hours(), terminal=True).splitlines() if "━" in line]
    assert own == 20
    assert far == 7


def test_many_tasks_share_lines() -> None:
    waves = tuple(
        Wave(*parts)
        for number in range(9)
        for parts in (
            ("pretraining", f"task{number}", "", 5, 1, "", 2.0 + number),
            ("cells", f"task{number}", "pretrained", 25, 25, "pretraining", 0.5),
        )
    )
    lines = [" ".join(line.split()) for line in shown(hours(waves=waves)).splitlines()]

    assert "pretraining (9 tasks) 45 36 9 6 h nothing" in lines
    assert "cells (9 tasks) pretrained 225 0 225 30 min pretraining" in lines


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    assert max(map(len, shown(hours(), terminal=True, width=width).splitlines())) <= width
