"""What a run shows as it goes: in a terminal, in a log, and where it is to be quiet."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import sslkit
from rich.console import Console
from screen import Screen
from studies import tiny_tables

from sslkit.cli import display
from sslkit.cli.display.console import make_console, redraws
from sslkit.cli.display.live_progress import LiveProgress
from sslkit.cli.display.plain_progress import PlainProgress
from sslkit.cli.display.progress import Progress
from sslkit.cli.display.scores import ScoresSoFar
from sslkit.cli.terminal import TELL_STOPPING
from sslkit.config import to_toml
from sslkit.experiment.observation import PlannedJobs, PlanObserver, ScoreObserver

TASKS = [f"task-{number}" for number in range(17)] + ["rotation-invariant"]
SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)


def row(pretext: str, fraction: float, qwk: float | None, arm: str = "pretrained", fold: int = 0) -> dict[str, Any]:
    return {"pretext": pretext, "arm": arm, "fraction": fraction, "fold": fold, "repetition": 0, "qwk": qwk}


def cell(number: int, **place: Any) -> Any:
    return SimpleNamespace(id=f"cells/{number:016x}", after=(), cost=1.0, processes=1, coordinates=place)


def pretraining(task: str, fold: int) -> Any:
    return SimpleNamespace(id=f"pretraining/{task}/{fold}", after=(), cost=5.0, processes=1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def tournament(progress: Progress, workers: int) -> None:
    """Bring a run of 18 tasks to where all of them have scores and as many jobs are under way as there are workers."""
    jobs = [cell(number, **row(task, SHARES[number % 5], None)) for number, task in enumerate(TASKS * 10)]
    progress.jobs_planned(PlannedJobs(jobs, [row("", 0.05, 0.25, arm="scratch")], workers, "qwk", {}))
    progress.stage("jobs", len(jobs))
    for number, task in enumerate(TASKS * len(SHARES)):
        progress.cell_scored(row(task, SHARES[number % 5], number / 100))
    for job in jobs[:workers]:
        progress.job_started(job)
        progress.job_progressed(job, {"done": 7, "total": 40})
    progress.advanced(90)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 10), (80, 5), (200, 60), (20, 3)])
@pytest.mark.parametrize("workers", [1, 4, 64])
def test_the_picture_is_never_larger_than_the_screen(width: int, height: int, workers: int) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height, color_system=None)
    with LiveProgress(console, Clock()) as progress:
        for _ in range(5):
            tournament(progress, workers)
            progress._live.refresh()
        screen = Screen(width, height)
        screen.write(file.getvalue())
    assert screen.wrapped == 0
    lines = screen.text.splitlines()
    assert max(map(len, lines)) <= width
    over = "Pretraining and fine-tuning: 90 jobs in 0 s"
    assert set(" ".join(screen.scrolled).split()) <= set(over.split())  # nothing that is drawn over leaves the screen
    pictured = console.render_lines(progress_picture(console, workers), pad=False)
    assert len(pictured) <= max(1, height - 2)


def progress_picture(console: Console, workers: int) -> Any:
    progress = LiveProgress(console)
    tournament(progress, workers)
    return progress.picture()


def pictured(progress: LiveProgress, width: int, height: int) -> str:
    progress.console.width, progress.console.height = width, height
    with progress.console.capture() as captured:
        progress.console.print(progress.picture())
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def test_a_picture_of_a_run_tells_stage_jobs_time_and_scores() -> None:
    clock = Clock()
    progress = LiveProgress(Console(file=io.StringIO(), force_terminal=True, color_system=None), clock)
    assert pictured(progress, 80, 24) == "Preparing ..."
    jobs = [pretraining("rotation", fold) for fold in (0, 1)]
    done = [row("rotation", 0.1, 0.4), row("rotation", 0.1, 0.5, fold=1), row("", 1.0, None, "scratch")]
    progress.jobs_planned(PlannedJobs(jobs, done, 1, "qwk", {job.id: 600.0 for job in jobs}))
    progress.stage("jobs", 2)
    progress.job_started(jobs[0])
    progress.job_progressed(jobs[0], {"done": 0, "total": 100})
    progress.job_progressed(jobs[0], {"epoch": 1, "metrics": {}})  # tells nothing of how far it is
    clock.now = 300.0
    progress.job_progressed(jobs[0], {"done": 50, "total": 100})
    progress.cell_scored(row("", 0.1, 0.3, "scratch"))
    head, job, title, *scores = pictured(progress, 80, 24).splitlines()
    assert re.fullmatch(r"Pretraining and fine-tuning [━╺╸ ]+ 0/2 jobs, about 15 min left", head)
    assert re.fullmatch(r"  pretraining by rotation, fold 0 +[━╺╸]+ +50/100", job)
    assert re.fullmatch(r"QWK so far \(cells\) +10 %", title)  # nothing is defined of scratch at 100 %
    assert [line.split() for line in scores] == [
        ["rotation", "pretrained", "0.450", "(2)"],
        ["scratch", "0.300", "(1)"],
    ]
    progress.job_finished(jobs[0])
    progress.advanced(2)
    assert "summing up" in pictured(progress, 80, 24)


def test_a_stage_that_is_over_leaves_a_line() -> None:
    clock, file = Clock(), io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system=None)
    with LiveProgress(console, clock) as progress:
        progress.stage("ingest", 600)
        progress.advanced(600)
        clock.now = 12.0
        progress.stage("jobs", 3)
        progress.warned("the disk is nearly full")
        progress.job_started(pretraining("rotation", 0))
        progress.job_failed(pretraining("rotation", 0), "the loss is nan\nand more")
        progress.advanced(2)
        clock.now = 1212.0
        progress._live.refresh()
    screen = Screen(80, 24)
    screen.write(file.getvalue())
    assert screen.text.splitlines() == [
        "Decoding images: 600 images in 12 s",
        "warning: the disk is nearly full",
        "failed: pretraining/rotation/0: the loss is nan",
        "Pretraining and fine-tuning: 2 jobs in 20 min",
    ]


def test_a_run_that_is_stopped_says_so_in_its_picture_and_leaves_nothing_of_it() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system=None)
    outside = TELL_STOPPING[-1]

    def run() -> None:
        with LiveProgress(console) as progress:
            tournament(progress, 4)
            TELL_STOPPING[-1]()
            progress._live.refresh()
            screen = Screen(80, 24)
            screen.write(file.getvalue())
            assert "90/180 jobs, stopping at a safe point" in screen.text
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    screen = Screen(80, 24)
    screen.write(file.getvalue())
    assert screen.text == ""
    assert [outside] == TELL_STOPPING


def test_a_log_has_few_lines_and_no_control_codes() -> None:
    clock, file = Clock(), io.StringIO()
    with PlainProgress(Console(file=file, width=80, highlight=False), clock) as progress:
        progress.stage("ingest", 40)
        for done in range(1, 41):
            clock.now += 0.1
            progress.advanced(done)
        jobs = [cell(number, **row("rotation", 0.1, None, fold=number)) for number in range(60)]
        progress.jobs_planned(PlannedJobs(jobs, [], 1, "qwk", {}))
        progress.stage("jobs", 60)
        for number, job in enumerate(jobs):
            progress.job_started(job)
            for update in range(1, 11):
                clock.now += 2.0
                progress.job_progressed(job, {"done": update, "total": 10})
            progress.job_finished(job)
            progress.cell_scored(row("rotation", 0.1, 0.25, fold=number))
            progress.advanced(number + 1)
            if number == 30:
                progress.job_failed(job, "Traceback (most recent call last):\n  File\nValueError: no\n")
    lines = file.getvalue().splitlines()
    assert lines[:2] == ["Decoding images: 40 images", "Pretraining and fine-tuning: 60 jobs"]
    scored = "QWK so far: 10 % of the labels: rotation pretrained 0.250"
    assert f"jobs 11/60, 18 %, about 16 min left, {scored} (n=11)" in lines
    assert "failed: cells/000000000000001e: ValueError: no" in lines
    told = [text for text in lines if text.startswith("jobs ")]
    assert 18 <= len(told) <= 30  # of 1200 seconds: one a minute, and one at each tenth
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", file.getvalue())


def test_a_log_tells_that_nothing_is_missing() -> None:
    file = io.StringIO()
    with PlainProgress(Console(file=file)) as progress:
        progress.jobs_planned(PlannedJobs([], [], 1, "qwk", {}))
        progress.stage("jobs", 0)
    assert file.getvalue() == "Pretraining and fine-tuning: 0 jobs to do; all others are done\n"


def test_quiet_tells_what_went_wrong_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with display.follow_run(quiet=True) as progress:
        tournament(progress, 4)
        progress.warned("the disk is nearly full")
        progress.job_failed(pretraining("rotation", 0), "the loss is nan")
    assert (
        capsys.readouterr().err == "warning: the disk is nearly full\nfailed: pretraining/rotation/0: the loss is nan\n"
    )


def test_a_mean_is_of_defined_scores_of_the_metric_that_the_head_leads_with() -> None:
    scores = ScoresSoFar("referable_auroc")
    assert scores.sentence() == ""
    assert scores.num_lines == 0
    for value in (0.5, None, 0.75):
        scores.add({**row("rotation", 0.125, 0.1), "referable_auroc": value})
    assert scores.sentence() == "referable auroc so far: 12.5 % of the labels: rotation pretrained 0.625 (n=2)"


def test_one_line_tells_the_latest_of_many_scores() -> None:
    scores = ScoresSoFar()
    for number, task in enumerate(TASKS):
        scores.add(row(task, SHARES[number % 5], 0.5))
    sentence = scores.sentence()
    assert sentence.count("(n=1)") == 6
    assert sentence.endswith("; and 12 more")
    assert "rotation-invariant pretrained 0.500" in sentence


def test_a_table_without_room_keeps_the_latest_and_says_how_many_there_are() -> None:
    scores = ScoresSoFar()
    scores.expect([row("", 1.0, None, "scratch"), *(row(task, 1.0, None) for task in TASKS)])
    for task in TASKS:
        scores.add(row(task, 1.0, 0.5))
    scores.add(row(TASKS[0], 1.0, 0.7))
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as captured:
        console.print(scores.table(80, 6))
    title, *lines, more = (line.split() for line in captured.get().splitlines())
    assert title == ["QWK", "so", "far", "(cells)", "100", "%"]
    assert [line[0] for line in lines] == ["task-0", "task-15", "task-16", "rotation-invariant"]
    assert more == ["...", "and", "14", "more"]
    assert lines[0][2:] == ["0.600", "(2)"]


def test_it_hears_of_plan_and_scores() -> None:
    progress = Progress(make_console())
    assert isinstance(progress, PlanObserver)
    assert isinstance(progress, ScoreObserver)


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, False, False),
        ({"TERM": "xterm"}, False, False),
    ],
)
def test_a_screen_is_drawn_over_where_it_can_be(
    environment: dict[str, str], terminal: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    file = io.StringIO()
    monkeypatch.setattr(file, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", file)
    assert redraws(make_console(stderr=True)) is expected
    kind = LiveProgress if expected else PlainProgress
    assert type(display.follow_run()) is kind


@pytest.mark.parametrize(
    ("environment", "colours"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_in_a_pipe_are_as_the_environment_asks(
    environment: dict[str, str], colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with display.follow_run() as progress:
        progress.warned("x")
    assert ("\x1b[33m" in file.getvalue()) is colours
    assert re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()) == "warning: x\n"


def test_a_quiet_run_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(to_toml(tiny_tables(evaluation={"label_fractions": [1.0], "arms": ["scratch"]})))
    assert sslkit("run", config, "--output", tmp_path / "run", "-q") == (0, "", "")
    assert capfd.readouterr() == ("", "")  # nor does a process that carries out a job say anything
    assert (tmp_path / "run" / "report" / "index.html").exists()
