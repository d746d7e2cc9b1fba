"""The contract of an executor: where and how the jobs of a run are carried out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sslkit.interfaces.plugin import ConfigT, Plugin

Reporter = Callable[[Mapping[str, Any]], None]
"""Takes progress of a job: plain values by name, such as ``{"done": 3, "total": 30}``."""


class Job(Protocol):
    """One pretraining or one cell: picklable, independent, and done when its files stand."""

    @property
    def id(self) -> str:
        """A name that is unique in the run."""

    @property
    def after(self) -> tuple[str, ...]:
        """Ids of the jobs whose results this one reads."""

    def execute(self, report: Reporter) -> None:
        """Do the work and write its results atomically."""


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
        """Run every job once those it waits for are done, at most ``workers`` at a time.

        A job whose predecessor failed is reported as failed and not run. Failures are reported, not raised.
        """
