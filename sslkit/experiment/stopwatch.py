"""Times the updates of jobs that an executor carries out."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sslkit.errors import RunError
from sslkit.interfaces import Executor, Job

_FEWEST_UPDATES = 3
"""Updates that are timed, at least, after the first, which warms up."""


def update_rate(executor: Executor[Any], jobs: Sequence[Job], workers: int, seconds: float) -> float:
    """Return the updates a second of a job, the mean over jobs that run beside each other.

    Args:
        executor: runs the jobs until each has been timed for long enough, and is stopped then.
        jobs: as many as run at a time; each reports ``done`` after every update, and has more to do than is timed.
        workers: jobs at a time.
        seconds: how long each is timed, at least.

    Raises:
        RunError: if a job fails, or ends before it was timed.
    """
    watch = _Stopwatch(len(jobs), seconds)
    try:
        executor.run(jobs, workers, watch)
    except _EnoughError:
        return watch.rate()
    raise RunError("there was no job to be timed")


class _EnoughError(Exception):
    """Every job has been timed for long enough."""


class _Stopwatch:
    """Hears of jobs' updates, and ends their executor once enough of each were timed."""

    def __init__(self, jobs: int, seconds: float) -> None:
        self.jobs, self.seconds = jobs, seconds
        self.times: dict[str, list[float]] = defaultdict(list)

    def started(self, job: Job) -> None:
        """Nothing is timed before the first update has ended."""

    def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """Note the time of an update."""
        if "done" in values:
            self.times[job.id].append(time.perf_counter())
        enough = [len(times) > _FEWEST_UPDATES and times[-1] - times[0] > self.seconds for times in self.times.values()]
        if len(enough) == self.jobs and all(enough):
            raise _EnoughError

    def finished(self, job: Job) -> None:
        """Give up: a job that ends cannot be timed beside the others."""
        raise RunError(f"{job.id} ended before it could be timed")

    def failed(self, job: Job, reason: str) -> None:
        """Give up."""
        raise RunError(f"{job.id} failed while it was timed: {reason.strip()}")

    def rate(self) -> float:
        """Return updates a second, the mean over jobs."""
        return statistics.fmean((len(times) - 1) / (times[-1] - times[0]) for times in self.times.values())
