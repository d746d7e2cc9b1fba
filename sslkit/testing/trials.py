"""Lets an executor run a few jobs, and keeps what comes of it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from sslkit.config.base import PluginConfig
from sslkit.experiment.environment import process_context
from sslkit.interfaces import Executor, Job, JobObserver
from sslkit.testing.outcome import CheckFailed

_PATIENCE = 120.0
"""Seconds that a trial may take; its jobs take a few, one after another."""

_GRACE = 2.0
"""Seconds that processes may take to end once the executor has returned."""

NUM_WORKERS = 2


class Stopped(BaseException):
    """What the observer of a trial raises to stop it."""


@dataclass
class Trial(JobObserver):
    """What came of some jobs: what the executor told of them, and what they wrote themselves.

    Attributes:
        log: the jobs' own file.
        stop_at: the observer stops the run at this many reports of progress.
        told: ``(event, job)`` in their order: ``"started"``, ``"finished"`` or ``"failed"``.
        reasons: why jobs failed.
        progress: what each job reported, without the executor's own warnings.
        early: jobs that were told to have finished before they had.
        raised: what ``run`` raised; None where it returned.
        left: numbers of the jobs' processes that are still there after it.
        fate: why nothing is known of the rest; None where the trial came to its end.
    """

    log: Path
    stop_at: int | None = None
    told: list[tuple[str, str]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    progress: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    early: list[str] = field(default_factory=list)
    raised: str | None = None
    left: list[int] = field(default_factory=list)
    fate: str | None = None

    def started(self, job: Job) -> None:
        """Note it."""
        self.told.append(("started", job.id))

    def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """Note it, or stop the run."""
        if set(values) != {"warning"}:
            self.progress.setdefault(job.id, []).append(dict(values))
        if self.stop_at is not None and sum(map(len, self.progress.values())) >= self.stop_at:
            raise Stopped

    def finished(self, job: Job) -> None:
        """Note it, and whether it is true."""
        self.told.append(("finished", job.id))
        if not self.times(job.id, "ends"):
            self.early.append(job.id)

    def failed(self, job: Job, reason: str) -> None:
        """Note it."""
        self.told.append(("failed", job.id))
        self.reasons[job.id] = reason

    def written(self) -> list[tuple[str, str]]:
        """Return what the jobs wrote: name, and ``"begins"`` or ``"ends"``."""
        return [(name, word) for name, word, *_ in self._lines()]

    def times(self, name: str, word: str) -> int:
        """Return how often a job has begun or ended."""
        return self.written().count((name, word))

    def processes(self) -> set[int]:
        """Return the processes of the jobs, those on this machine, without the present one."""
        return {int(process) for _, _, process, node in self._lines() if node == platform.node()} - {os.getpid()}

    def _lines(self) -> list[list[str]]:
        return [line.split(maxsplit=3) for line in self.log.read_text().splitlines()] if self.log.exists() else []


def attempt(executor: Executor[Any], jobs: Sequence[Job], trial: Trial) -> Trial:
    """Let an executor run jobs, two at a time, in this process; return what has come of it."""
    try:
        executor.run(jobs, NUM_WORKERS, trial)
    except (Exception, Stopped) as error:  # the checks judge what is raised
        trial.raised = f"{type(error).__name__}: {error}"
    trial.left = _still_there(trial.processes())
    return trial


def attempt_elsewhere(cls: type[Executor[Any]], config: PluginConfig, jobs: Sequence[Job], trial: Trial) -> Trial:
    """Let an executor run jobs in a process of its own, which may die with one of them.

    Raises:
        CheckFailed: if the executor cannot be sent to another process.
    """
    try:
        call = pickle.dumps((cls, config, jobs, trial))
    except Exception as error:
        raise CheckFailed(f"it cannot be sent to another process: {error}; define its class in a module") from error
    outcome = trial.log.with_suffix(".outcome")
    process: BaseProcess = process_context([]).Process(target=_attempt, args=(call, outcome))  # type: ignore[attr-defined]
    process.start()
    process.join(_PATIENCE)
    over = process.exitcode is not None
    if not over:
        process.kill()
        process.join()
    if outcome.exists():
        return cast(Trial, pickle.loads(outcome.read_bytes()))
    trial.fate = (
        f"the process that runs the executor died, with status {process.exitcode}. Run jobs in others. A script that "
        "checks an executor needs 'if __name__ == \"__main__\":' around the call"
        if over
        else f"run() has not returned within {_PATIENCE:.0f} seconds; what does it wait for?"
    )
    return trial


def _attempt(call: bytes, outcome: Path) -> None:
    cls, config, jobs, trial = pickle.loads(call)
    # A server that this process forks from, if it does, is a new one.
    multiprocessing.set_forkserver_preload([cls.__module__, *{type(job).__module__ for job in jobs}])
    outcome.write_bytes(pickle.dumps(attempt(cls(config), jobs, trial)))


def _still_there(processes: set[int]) -> list[int]:
    """Return the processes that do not end, given a while."""
    deadline = time.monotonic() + _GRACE
    while (left := list(filter(_is_there, processes))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # gone, or its number is another's by now
        return False
    return True
