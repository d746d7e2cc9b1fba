"""The contract of an executor: where and how the jobs of a run are carried out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sslkit.interfaces.plugin import ConfigT, Plugin

Reporter = Callable[[Mapping[str, Any]], None]
"""Takes progress of a job: plain values by name.

    done, total     updates, after each of them
    epoch, metrics  the metrics of an epoch that has ended
    warning         what is not as it should be, though the job goes on

Where the job is to stop, a report of ``done`` raises SystemExit: the job is between two updates, and may save what it
has come to.
"""


NOT_RUN = "not run: it needs "
"""How the reason begins of a job that was not run because one failed that it waits for."""


class Job(Protocol):
    """One pretraining or one cell: picklable, independent, and done when its files stand."""

    @property
    def id(self) -> str:
        """A name that is unique in the run."""

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the jobs whose results this one reads."""

    @property
    def cost(self) -> float:
        """How long it takes beside the run's other jobs, roughly and in any unit; it decides the order alone."""

    @property
    def processes(self) -> int:
        """How many processes of one thread, or GPUs, it computes with at a time; nearly always 1."""

    def execute(self, report: Reporter) -> None:
        """Do the work and write its results atomically."""


@runtime_checkable
class PlacedJob(Protocol):
    """What a [Job][sslkit.Job] may have besides, to say what a machine that does it must see; a run's jobs do."""

    @property
    def places(self) -> tuple[Path, ...]:
        """Folders that it reads and writes, the run directory first."""


class JobObserver(Protocol):
    """Hears of jobs as they go; called in the process that runs the executor."""

    def started(self, job: Job) -> None:
        """The job has begun."""

    def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """The job has reported progress."""

    def finished(self, job: Job) -> None:
        """The job's results stand."""

    def failed(self, job: Job, reason: str) -> None:
        """The job failed, or what it waits for did; ``reason`` is for people."""


class Executor(Plugin[ConfigT], ABC):
    """Runs jobs so that none takes another with it; the results are the same whichever executor runs them."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        """Run every job once those it waits for are done, on at most ``workers`` cores or GPUs at a time.

        A job takes as many as it has ``processes``; one that has more than there are runs alone.

        Those that most work waits for should come first: see [longest_first][sslkit.longest_first]. The last jobs may
        be more than ``workers`` where they end sooner so.

        A job whose process dies is tried once more; a job whose predecessor failed is reported as failed and not run,
        with a reason that begins with [NOT_RUN][sslkit.NOT_RUN].
        Failures are reported, not raised. Whatever the observer raises stops the jobs that run, at their next report.
        [JobQueue][sslkit.JobQueue] keeps account of all this for an executor.
        """


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs by the cost of the longest chain that begins with them, longest first.

    List scheduling by longest remaining path (Graham 1969): a long job that begins last would keep one worker busy
    while the others have nothing left. Jobs of equal rank stay in their order.

    Args:
        jobs: in any order; what a job waits for may be missing, if it is done.

    Example:
        >>> from types import SimpleNamespace as Job
        >>> short, long = Job(id="short", after=(), cost=1), Job(id="long", after=(), cost=2)
        >>> [job.id for job in longest_first([long, short, Job(id="last", after=("short",), cost=3)])]
        ['short', 'last', 'long']
    """
    followers: dict[str, list[Job]] = {}
    for job in jobs:
        for name in job.after:
            followers.setdefault(name, []).append(job)
    rest: dict[str, float] = {}

    def path(job: Job) -> float:
        if job.id not in rest:
            rest[job.id] = 0.0  # jobs that wait for one another are the executor's to refuse
            rest[job.id] = job.cost + max(map(path, followers.get(job.id, ())), default=0.0)
        return rest[job.id]

    return sorted(jobs, key=path, reverse=True)
