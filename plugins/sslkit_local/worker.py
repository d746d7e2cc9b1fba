"""One job in a process of its own, on both sides of the pipe."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from sslkit import Job, carry_out, follow_parent
from sslkit_local import sharing

_PATIENCE = 10.0
"""Seconds that a process may take to end once its job has."""

_GRACE = 5.0
"""Seconds that jobs may take to come to a safe point once the run is being stopped."""


@dataclass(eq=False)
class Worker:
    """A process that carries out a job, as its parent sees it.

    Attributes:
        job: the job.
        process: the process.
        pipe: brings what the job tells.
        slot: the lowest number that no job beside it has, counted in groups of as many GPUs as the job has processes.
        heard: when it last told of anything.
        again: whether this is the job's second try.
        left: of the job's cost.
        peak: bytes of memory, once it has told.
        failure: the reason, once the job has failed.
        done: whether its results stand.
    """

    job: Job
    process: BaseProcess
    pipe: Connection
    slot: int
    heard: float
    again: bool = False
    left: float = 0.0
    peak: int = 0
    failure: str | None = None
    done: bool = False

    def listen(self) -> Mapping[str, Any] | None:
        """Take one message: return progress, if it is that, and None at the end, when the process is gone."""
        self.heard = time.monotonic()
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):  # the process has closed its end: it is over, well or not
            self.process.join(_PATIENCE)
            self.process.kill()  # a thread that a plugin started may keep a finished process alive
            self.process.join()
            self.pipe.close()
            return None
        match message:
            case ("progress", values, peak):
                self.peak = peak
                if values.get("total"):
                    self.left = self.job.cost * (1 - values.get("done", 0) / values["total"])
                told: Mapping[str, Any] = values
                return told
            case ("done", _):
                self.done = True
            case ("failed", reason):
                self.failure = reason
        return {}

    def how_it_died(self) -> str:
        """Return what is known of a process that ended without a word."""
        code = self.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            cause = {"SIGKILL": " (out of memory?)", "SIGBUS": " (disk full, or a file cut short?)"}.get(name, "")
            return f"its process was killed by {name}{cause}"
        return f"its process ended with status {code} before its result stood"


def start(context: Any, job: Job, slot: int, *, again: bool = False) -> Worker:
    """Begin a job in a process of its own."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, theirs, slot), name=job.id)  # a daemon could start none itself
    process.start()
    theirs.close()
    return Worker(job, process, ours, slot, time.monotonic(), again, left=job.cost)


def stop(workers: Sequence[Worker]) -> None:
    """End processes at a safe point of their jobs, or by force where they do not come to one.

    Whatever interrupts the waiting, a second Ctrl-C say, ends them by force at once.
    """
    try:
        for worker in workers:
            worker.process.terminate()
        deadline = time.monotonic() + _GRACE
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _work(job: Job, pipe: Connection, slot: int) -> None:
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    follow_parent()
    signal.signal(signal.SIGTERM, stop)

    def report(values: Mapping[str, Any]) -> None:
        pipe.send(("progress", values, sharing.peak_memory()))
        if stopping and "done" in values:
            raise SystemExit(128 + signal.SIGTERM)  # here the job is between two updates

    try:
        reason = carry_out(job, report, slot=slot)
        pipe.send(("done", None) if reason is None else ("failed", reason))
    finally:
        pipe.close()
