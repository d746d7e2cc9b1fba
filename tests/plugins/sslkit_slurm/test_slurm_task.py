from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jobs import Fail, Note

from sslkit import Reporter
from sslkit_slurm import task
from sslkit_slurm.task import Task


@dataclass(frozen=True)
class Signalled:
    """Sends its own process a signal at its third update, and saves where it has come to when it is stopped."""

    saved: Path
    number: int
    id: str = "signalled"
    after: tuple[str, ...] = ()
    cost: float = 1.0
    processes: int = 1

    def execute(self, report: Reporter) -> None:
        first = int(self.saved.read_text()) if self.saved.exists() else 0
        for done in range(first + 1, 7):
            if done == 3:
                os.kill(os.getpid(), self.number)
            try:
                report({"done": done, "total": 6})
            except SystemExit:
                self.saved.write_text(str(done))
                raise


def told(path: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


@pytest.fixture
def requeued() -> Iterator[list[int]]:
    """What submitit's own handler was called with, which would queue the job again."""
    calls: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGUSR2, before)


def test_what_a_job_tells_is_written_a_line_each_behind_where_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "told"
    assert Task(Signalled(tmp_path / "saved", 0), path, signals=False)() is None
    here = {"node": platform.node(), "process": os.getpid()}
    assert told(path) == [here, *({"told": {"done": done, "total": 6}} for done in range(1, 7))]


def test_a_line_that_was_broken_off_by_a_death_spoils_none_of_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "told"
    path.write_text('{"told": {"do')
    assert Task(Note("a", tmp_path / "log"), path, signals=False)() is None
    broken, *lines = path.read_text().splitlines()
    assert broken == '{"told": {"do'
    assert [json.loads(line)["node"] for line in lines] == [platform.node()]


def test_an_error_of_the_job_is_its_result(tmp_path: Path) -> None:
    reason = Task(Fail("bad", "diverge"), tmp_path / "told", signals=False)()
    assert reason == "the loss is nan at update 3; lower the learning rate"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_told_to_end_does_so_at_a_safe_point(tmp_path: Path, requeued: list[int], number: int) -> None:
    job = Signalled(tmp_path / "saved", number)
    with pytest.raises(SystemExit):
        Task(job, tmp_path / "told")()
    assert job.saved.read_text() == "3"
    assert told(tmp_path / "told")[-1] == {"told": {"done": 3, "total": 6}}
    assert requeued == []  # whether it was preempted or cancelled is known to Slurm alone


def test_a_job_whose_time_is_nearly_up_is_queued_again_once_it_is_at_a_safe_point(
    tmp_path: Path, requeued: list[int]
) -> None:
    job = Signalled(tmp_path / "saved", signal.SIGUSR2)
    first = Task(job, tmp_path / "told")
    with pytest.raises(SystemExit):
        first()
    assert (job.saved.read_text(), requeued) == ("3", [signal.SIGUSR2])
    resumed = first.checkpoint().function
    assert resumed() is None  # it goes on from the fourth update
    assert [line["told"]["done"] for line in told(tmp_path / "told") if "told" in line] == [1, 2, 3, 4, 5, 6]


def test_a_job_that_gets_no_further_is_not_queued_again_for_ever(tmp_path: Path, requeued: list[int]) -> None:
    job = Signalled(tmp_path / "saved", signal.SIGUSR2)
    first = Task(job, tmp_path / "told")
    with pytest.raises(SystemExit):
        first()
    job.saved.unlink()  # as a cell, which keeps nothing between tries
    reason = first.checkpoint().function()
    assert reason == (
        "it takes longer than it is given at a time, and begins anew where it is stopped; raise executor.time"
    )


def test_slurm_may_end_the_process_that_asks_it_to_queue_the_job_again(tmp_path: Path) -> None:
    def killed(number: int, frame: object) -> None:
        raise subprocess.CalledProcessError(-signal.SIGTERM, ["scontrol", "requeue", "7_0"])

    before = signal.signal(signal.SIGUSR2, killed)
    try:
        with pytest.raises(SystemExit):
            Task(Signalled(tmp_path / "saved", signal.SIGUSR2), tmp_path / "told")()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_handlers_of_signals_are_put_back(tmp_path: Path) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]
    Task(Note("a", tmp_path / "log"), tmp_path / "told")()
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_node_that_does_not_see_the_run_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "_PATIENCE", 0.0)
    job = Note("a", tmp_path / "log")
    reason = Task(job, tmp_path / "told", (tmp_path, tmp_path / "missing"))()
    assert reason is not None
    assert reason.startswith(f"the node {platform.node()} does not see {tmp_path / 'missing'}; put the run directory")
    assert not job.log.exists()


def test_a_disk_that_is_mounted_when_asked_for_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = tmp_path / "late"
    monkeypatch.setattr(task.time, "sleep", lambda seconds: late.mkdir(exist_ok=True))
    assert Task(Note("a", tmp_path / "log"), tmp_path / "told", (late,))() is None
