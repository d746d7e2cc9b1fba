"""One job on a node of the cluster: the process that the scheduler starts, signals and starts again."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from sslkit import Job, carry_out
from sslkit.errors import RunError, StorageError

_FLUSH = 1.0
"""Seconds between two writings of what a job tells, to a disk that many share."""

_PATIENCE = 30.0
"""Seconds after which a disk that a node does not see is not waited for any more: some are mounted when asked for."""


class Task:
    """A job as submitit sends it to a node: called there, and asked what to go on with where its time is up.

    The signals that a scheduler sends only set a flag: the job stops between two updates, when its checkpoint is saved.
    SIGTERM is a preemption or a cancellation, and what becomes of the job is Slurm's to decide. USR2 says that the time
    is nearly up: the job is put back into the queue, by submitit, unless it came no further than the last time.

    Args:
        job: the job.
        told: the file that it tells its progress in.
        places: what the node must see.
        signals: whether this process is the job's own, and is sent signals.
        stopped_at: the update it had begun with when its time was last up; None: it never was.
    """

    def __init__(
        self,
        job: Job,
        told: Path,
        places: tuple[Path, ...] = (),
        *,
        signals: bool = True,
        stopped_at: int | None = None,
    ) -> None:
        self.job, self.told, self.places, self.signals = job, told, places, signals
        self.stopped_at = stopped_at
        self.first: int | None = None

    def __call__(self) -> str | None:
        """Carry out the job; return None where its results stand, or why it failed."""
        if unseen := self._unseen():
            return (
                f"the node {platform.node()} does not see {unseen}; put the run directory and the cache of images "
                "($SSLKIT_CACHE or images.cache) on a disk that all nodes see, by the same path"
            )
        with _Teller(self.told) as teller, _signals(self.signals) as caught:

            def report(values: Mapping[str, Any]) -> None:
                teller.tell(values)
                if "done" not in values:
                    return
                if self.first is None:
                    self.first = int(values["done"])
                    self._refuse_to_begin_anew()
                if caught.stopping:
                    raise SystemExit(128 + signal.SIGTERM)  # here the job is between two updates

            try:
                return carry_out(self.job, report)
            except SystemExit:
                teller.flush()
                if caught.requeue is not None:
                    # Slurm ends all processes of a job that is queued again, the one that asks for it among them.
                    with suppress(subprocess.SubprocessError):
                        caught.requeue(signal.SIGUSR2, None)
                raise

    def checkpoint(self) -> Any:
        """Return what submitit is to submit in place of this: the same job, whose checkpoint stands by now."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Task(self.job, self.told, self.places, stopped_at=self.first))

    def _refuse_to_begin_anew(self) -> None:
        if self.stopped_at is not None and self.first is not None and self.first <= self.stopped_at:
            raise RunError(
                "it takes longer than it is given at a time, and begins anew where it is stopped; raise executor.time"
            )

    def _unseen(self) -> Path | None:
        deadline = time.monotonic() + _PATIENCE
        while unseen := next((place for place in self.places if not place.exists()), None):
            if time.monotonic() > deadline:
                return unseen
            time.sleep(1)
        return None


class _Caught:
    """What signals have asked for: to stop, and perhaps to be queued again."""

    def __init__(self) -> None:
        self.stopping = False
        self.requeue: Any = None


@contextmanager
def _signals(taken: bool) -> Iterator[_Caught]:
    caught = _Caught()
    if not taken:
        yield caught
        return
    queue_again = signal.getsignal(signal.SIGUSR2)  # what submitit does there, at a moment that it cannot choose

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR2 and not caught.stopping and callable(queue_again):
            caught.requeue = queue_again
        elif number != signal.SIGUSR2:
            caught.requeue = None  # preempted or cancelled: Slurm knows which
        caught.stopping = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)}
    try:
        yield caught
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class _Teller:
    """Writes what a job tells, a line each, to a file that the process in control reads."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("a", encoding="utf-8")
        self._flushed = 0.0

    def __enter__(self) -> _Teller:
        if self._file.tell():  # an earlier try was killed in the midst of a line, perhaps
            self._file.write("\n")
        self._write({"node": platform.node(), "process": os.getpid()})
        self.flush()
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def tell(self, values: Mapping[str, Any]) -> None:
        self._write({"told": dict(values)})
        if time.monotonic() - self._flushed > _FLUSH:
            self.flush()

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise StorageError.of(self._path, error) from error
        self._flushed = time.monotonic()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
