from __future__ import annotations

import os
from pathlib import Path

import pytest

from sslkit_slurm import queue


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands that come before Slurm's own."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def pretend(folder: Path, name: str, *lines: str, error: str = "", status: int = 0) -> Path:
    """Put a command into a folder, which notes what it is called with and says what it is to say."""
    log = folder / f"{name}.log"
    said = "\n".join(lines)
    script = f"#!/bin/sh\necho \"$@\" >> '{log}'\ncat <<'END'\n{said}\nEND\necho '{error}' >&2\nexit {status}\n"
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)
    return log


def test_all_jobs_are_asked_after_in_one_call(command: Path) -> None:
    log = pretend(command, "squeue", "12_0|RUNNING|node1", "12_1|PENDING|", "17|OUT_OF_MEMORY|node2", "99|RUNNING|x")
    said = queue.states(["12_0", "12_1", "12_2", "17"])
    assert said == {
        "12_0": ("RUNNING", "node1"),
        "12_1": ("PENDING", ""),
        "12_2": (queue.GONE, ""),
        "17": ("OUT_OF_MEMORY", "node2"),
    }
    assert log.read_text() == "--noheader --states=all --array --format=%i|%T|%N --jobs=12,17\n"


def test_without_jobs_nobody_is_asked(command: Path) -> None:
    log = pretend(command, "squeue")
    assert queue.states([]) == {}
    assert not log.exists()


def test_a_job_that_slurm_has_forgotten_is_gone(command: Path) -> None:
    pretend(command, "squeue", error="slurm_load_jobs error: Invalid job id specified", status=1)
    assert queue.states(["12_0"]) == {"12_0": (queue.GONE, "")}


def test_a_scheduler_that_does_not_answer_says_nothing_of_jobs(command: Path) -> None:
    pretend(command, "squeue", error="slurm_load_jobs error: Unable to contact slurm controller", status=1)
    assert queue.states(["12_0"]) is None


def test_without_the_command_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue.states(["12_0"]) is None


def test_commands_that_hang_are_given_up(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_PATIENCE", 0.2)
    for name in ("squeue", "scancel", "scontrol"):
        (command / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (command / name).chmod(0o755)
    assert queue.states(["12_0"]) is None
    queue.cancel(["12_0"])
    queue.let_run("12", 5)
    assert queue.how_it_ended("12_0") == "ended before its result stood, in a way that Slurm does not tell"


@pytest.mark.parametrize(
    "state", ["PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "SUSPENDED", "STAGE_OUT"]
)
def test_what_slurm_still_has_in_hand_has_not_ended(state: str) -> None:
    assert not queue.has_ended(state)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", queue.GONE])
def test_what_slurm_is_done_with_has_ended(state: str) -> None:
    assert queue.has_ended(state)


def test_whole_arrays_are_cancelled_in_one_call(command: Path) -> None:
    log = pretend(command, "scancel")
    queue.cancel(["12_0", "12_1", "17"])
    assert log.read_text() == "--quiet 12 17\n"
    queue.cancel([])
    assert log.read_text().count("\n") == 1


def test_the_throttle_of_an_array_is_raised(command: Path) -> None:
    log = pretend(command, "scontrol")
    queue.let_run("12", 5)
    assert log.read_text() == "update JobId=12 ArrayTaskThrottle=5\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("0:9", "was killed by SIGKILL (out of memory?)"),
        ("0:15", "was killed by SIGTERM"),
        ("0:53", "ended by signal 53, as Slurm says of one whose log its node cannot write to"),
        ("3:0", "ended with status 3 before its result stood"),
    ],
)
def test_the_end_of_a_process_is_told_in_words(command: Path, code: str, words: str) -> None:
    pretend(
        command, "scontrol", "JobId=12", f"   Requeue=1 Restarts=0 BatchFlag=1 Reboot=0 ExitCode={code}", "   RunTime=0"
    )
    assert queue.how_it_ended("12_1") == words


@pytest.mark.parametrize(
    ("said", "moment", "limit"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True, False),
        ("sbatch: error: Unable to contact slurm controller (connect failure)", True, False),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", False, True),
        ("sbatch: error: AssocMaxSubmitJobLimit", False, True),
        ("sbatch: error: invalid partition specified: gpu", False, False),
    ],
)
def test_what_may_be_taken_later_is_told_from_what_never_will(said: str, moment: bool, limit: bool) -> None:
    assert (queue.may_come_right(said), queue.is_a_limit(said)) == (moment, limit)
