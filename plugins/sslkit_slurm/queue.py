"""What Slurm says of jobs: one call of squeue for all of them, which needs no accounting database."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterable

_COMPLETED = "COMPLETED"
_ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    _COMPLETED,
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
"""States that a job does not leave by itself; every other one is on its way."""

GONE = "GONE"
"""The state of a job that Slurm no longer knows: it forgets them some minutes after their end."""


def states(jobs: Iterable[str]) -> dict[str, tuple[str, str]] | None:
    """Return state and node of jobs by their ids; None where Slurm does not answer.

    Args:
        jobs: ids such as ``"12"`` or ``"12_3"``.
    """
    wanted = set(jobs)
    arrays = sorted({job.partition("_")[0] for job in wanted})
    if not arrays:
        return {}
    options = ("--noheader", "--states=all", "--array", "--format=%i|%T|%N", f"--jobs={','.join(arrays)}")
    asked = _ask("squeue", *options)
    if asked is None or (asked.returncode and "Invalid job id" not in asked.stderr):
        return None
    lines = (line.split("|") for line in asked.stdout.splitlines() if line.count("|") == 2)
    said = {job: (state, node) for job, state, node in lines}
    return {job: said.get(job, (GONE, "")) for job in wanted}


def has_ended(state: str) -> bool:
    """Return whether a job in this state neither waits nor runs."""
    return state in _ENDED or state == GONE


def completed(state: str) -> bool:
    """Return whether the process of a job in this state ended as it should have."""
    return state == _COMPLETED


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs: those that run are sent SIGTERM, and SIGKILL when the cluster's KillWait is over."""
    if arrays := sorted({job.partition("_")[0] for job in jobs}):
        _ask("scancel", "--quiet", *arrays)


def how_it_ended(job: str) -> str:
    """Return in words what Slurm knows of the end of a job's process."""
    asked = _ask("scontrol", "show", "job", job)
    found = asked and re.search(r"^ +.*\bExitCode=(\d+):(\d+)", asked.stdout, re.MULTILINE)
    if not found:
        return "ended before its result stood, in a way that Slurm does not tell"
    status, number = map(int, found.groups())
    if number:
        try:
            name = signal.Signals(number).name
        except ValueError:  # 53, above all
            return f"ended by signal {number}, as Slurm says of one whose log its node cannot write to"
        return f"was killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"ended with status {status} before its result stood"


def let_run(array: str, at_a_time: int) -> None:
    """Let so many jobs of an array run at a time; a cluster that does not allow it keeps to what it was told first."""
    _ask("scontrol", "update", f"JobId={array}", f"ArrayTaskThrottle={at_a_time}")


def may_come_right(said: str) -> bool:
    """Return whether what sbatch said of jobs that it did not take speaks of the moment alone."""
    return any(words in said.lower() for words in _OF_THE_MOMENT)


def is_a_limit(said: str) -> bool:
    """Return whether sbatch did not take jobs because they are more than it takes at a time."""
    return "submit" in said.lower() and "limit" in said.lower()


def _ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Call a command of Slurm's; return None where it cannot be called or does not come to an end."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):  # a controller that is busy keeps its callers waiting
        return None


_PATIENCE = 60.0
"""Seconds that a command of Slurm's may take."""

_OF_THE_MOMENT = ("timed out", "unable to contact", "temporarily", "connection refused", "zero bytes were transmitted")
