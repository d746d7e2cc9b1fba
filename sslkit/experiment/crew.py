"""The processes of one torchrun: the first carries out the run, and the others take part in its pretrainings.

They find each other by torchrun's store, where nothing runs out of time: a follower waits there while the first decodes
images or trains cells, for hours. For each pretraining they join anew.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from torch import distributed
from torch.distributed.rendezvous import rendezvous

from sslkit.engine.distributed import Team, in_one_thread, joined
from sslkit.engine.precision import Compute
from sslkit.errors import RunError, TrainingDivergedError
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.interfaces import Job, JobObserver, JobQueue, Reporter
from sslkit.processes import stops_held, stops_noted
from sslkit.torchrun import Launch, launch

_BETWEEN = 0.2
"""Seconds between two looks of a follower at the store."""

_GRACE = 10.0
"""Seconds that a follower gives the first process, once both have been told to stop."""

_RENDEZVOUS = timedelta(minutes=10)


class Crew:
    """The processes of one torchrun, as each of them sees it.

    Args:
        launched: what torchrun says of this one.
    """

    def __init__(self, launched: Launch) -> None:
        self.launched = launched
        self._store, _, _ = next(rendezvous("env://", timeout=_RENDEZVOUS))
        self._number = 0

    def carry_out(self, jobs: Sequence[Job], compute: Compute, observer: JobObserver) -> list[Job]:
        """Carry out the pretrainings among some jobs, all processes together and one after another.

        Args:
            jobs: those that are missing.
            compute: what they compute on.
            observer: hears of the pretrainings, and of jobs that cannot be run since one failed.

        Returns:
            The other jobs that can be run now.
        """
        queue = JobQueue(jobs, observer)
        while job := next((job for job in queue.ready() if isinstance(job, PretrainingJob)), None):
            queue.started(job)
            try:
                self._lead(job, compute, observer)
            except TrainingDivergedError as error:  # as in all processes
                queue.failed(job, str(error))
            else:
                queue.finished(job)
        return queue.waiting

    def _lead(self, job: PretrainingJob, compute: Compute, observer: JobObserver) -> None:
        self._tell(compute)
        with stops_held() as asked:

            def report(values: Mapping[str, Any]) -> None:
                observer.progressed(job, values)
                if "done" in values and Team.present().told(asked()):
                    raise SystemExit(128 + signal.SIGTERM)

            self._take_part(job, compute, report)

    def dismiss(self, directory: Path | None) -> None:
        """Let the followers go.

        Args:
            directory: of the run that has finished; None where it has not.
        """
        with suppress(RunError):  # torchrun is gone, and they hear of that themselves
            self._tell(directory)

    def follow(self) -> Path:
        """Take part in the pretrainings of the first process until it has finished its run; return the directory.

        Raises:
            SystemExit: if the run ended before it was finished. The first process says why.
        """
        with stops_noted() as stopped:
            while True:
                match self._hear(stopped):
                    case Compute() as compute:
                        try:
                            self._take_part(None, compute, _follow_stops)
                        except TrainingDivergedError:  # as in all processes; the first says so
                            continue
                    case Path() as directory:
                        return directory
                    case None:
                        raise SystemExit(0)

    def _take_part(self, job: PretrainingJob | None, compute: Compute, report: Reporter) -> None:
        me = self.launched
        self._number += 1
        store = distributed.PrefixStore(f"sslkit/pretraining/{self._number}", self._store)  # type: ignore[attr-defined]
        with _on_device(me.local_rank), in_one_thread():
            compute.prepare_process()
            try:
                with joined(store, me.rank, me.size, compute, one_machine=me.size == me.local_size):
                    shared = [job]
                    distributed.broadcast_object_list(shared)
                    assert shared[0] is not None, "the first process has sent its job"
                    shared[0].execute(report)
            except RuntimeError as error:
                raise RunError(
                    f"process {me.rank} of {me.size} failed, or lost another: {error}; the same command goes on from "
                    "the last checkpoint"
                ) from error

    def _tell(self, message: Compute | Path | None) -> None:
        with self._reached():
            self._store.set(f"sslkit/{self._number}", pickle.dumps(message))
        if not isinstance(message, Compute):
            self._number += 1

    def _hear(self, stopped: Sequence[float]) -> Compute | Path | None:
        """Wait for what the first process says next."""
        key = f"sslkit/{self._number}"
        with self._reached():
            while not self._store.check([key]):
                if stopped and time.monotonic() - stopped[0] > _GRACE:
                    return None
                time.sleep(_BETWEEN)
            message: Compute | Path | None = pickle.loads(self._store.get(key))
        if not isinstance(message, Compute):
            self._number += 1
        return message

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say of what torchrun's store raises that torchrun, which keeps it, is gone."""
        try:
            yield
        except RuntimeError as error:
            raise RunError(
                f"process {self.launched.rank} lost torchrun: {error}; the same command goes on from here"
            ) from error


@cache
def crew() -> Crew | None:
    """Return the processes that torchrun has started; None where it has not."""
    launched = launch()
    return None if launched is None else Crew(launched)


def _follow_stops(values: Mapping[str, Any]) -> None:
    """End where the first process does, after the same update."""
    if "done" in values and Team.present().told(False):
        raise SystemExit(0)


@contextmanager
def _on_device(number: int) -> Iterator[None]:
    """Give this process the GPU of its number."""
    before = os.environ.get("SSLKIT_WORKER")
    os.environ["SSLKIT_WORKER"] = str(number)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSLKIT_WORKER"]
        else:
            os.environ["SSLKIT_WORKER"] = before
