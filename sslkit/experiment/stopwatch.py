"""Times the updates of jobs that an executor carries out."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sslkit.errors import RunError
from sslkit.interfaces import Executor, Job

_FEWEST_UPDATES = 3
"""Updates that are timed, at least, after the first, which warms up."""


class Timing(NamedTuple):
    """How fast a job is, the mean over jobs that run beside each other."""

    updates_per_s: float
    """Updates a second, once the first is over."""
    startup_s: float
    """What the first update takes more than another, from the start of the job: loading, compiling."""


def time_updates(executor: Executor[Any], jobs: Sequence[Job], workers: int, seconds: float) -> Timing:
    """Return how fast jobs are that run beside each other.

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
        return watch.timing()
    raise RunError("there was no job to be timed")


class _EnoughError(Exception):
    """Every job has been timed for long enough."""


class _Stopwatch:
    """Hears of jobs' updates, and ends their executor once enough of each were timed."""

    def __init__(self, jobs: int, seconds: float) -> None:
        self.jobs, self.seconds = jobs, seconds
        self.starts: dict[str, float] = {}
        self.times: dict[str, list[float]] = defaultdict(list)

    def started(self, job: Job) -> None:
        """Note when a job begins."""
        self.starts[job.id] = time.perf_counter()

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

    def timing(self) -> Timing:
        """Return the means over jobs."""
        updates = [(times[-1] - times[0]) / (len(times) - 1) for times in self.times.values()]
        first = [times[0] - self.starts[name] for name, times in self.times.items()]
        rate = statistics.fmean(1 / update for update in updates)
        return Timing(rate, max(0.0, statistics.fmean(first) - statistics.fmean(updates)))
