"""What a run shows as it goes: on a terminal a picture of it, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.text import Text

from sslkit.cli.display.console import line, make_console, redraws
from sslkit.cli.display.scores import ScoresSoFar
from sslkit.cli.display.words import gist, short_name
from sslkit.printable import printable

if TYPE_CHECKING:
    from sslkit.experiment.observation import PlannedJobs
    from sslkit.experiment.remaining_time import RemainingTime
    from sslkit.interfaces import Job


class Progress:
    """Tells what went wrong, at once, and nothing else; what tells more is built upon it.

    Attributes:
        console: where it is told.
        scores: what the cells that are done came to.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.clock = console, clock
        self.scores = ScoresSoFar()
        self._remaining: RemainingTime | None = None
        self._stage, self._total, self._done, self._began = "", 0, 0, 0.0
        self._running: dict[str, _Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def jobs_planned(self, plan: PlannedJobs) -> None:
        """Take down what there is to do, and what is done already."""
        from sslkit.experiment.remaining_time import RemainingTime

        self._remaining = RemainingTime(plan.jobs, plan.workers, plan.seconds, self.clock)
        self.scores = ScoresSoFar(plan.metric)
        places = [place for job in plan.jobs if (place := getattr(job, "coordinates", None))]
        self.scores.expect([*plan.done, *places])
        for row in plan.done:
            self.scores.add(row)

    def stage(self, name: str, total: int) -> None:
        """Begin a stage."""
        self._stage, self._total, self._done, self._began = name, total, 0, self.clock()

    def advanced(self, done: int) -> None:
        """Count what is done of the stage."""
        self._done = done

    def job_started(self, job: Job) -> None:
        """Count a job among those under way."""
        self._running[job.id] = _Running(short_name(job))
        if self._remaining:
            self._remaining.started(job)

    def job_progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """Take down how far a job is."""
        if "done" in values and job.id in self._running:
            running = self._running[job.id]
            running.done, running.total = values["done"], values.get("total")
            if self._remaining and running.total:
                self._remaining.progressed(job, running.done, running.total)

    def job_finished(self, job: Job) -> None:
        """Count a job as done."""
        self._running.pop(job.id, None)
        if self._remaining:
            self._remaining.finished(job)

    def cell_scored(self, row: Mapping[str, Any]) -> None:
        """Take in a score."""
        self.scores.add(row)

    def job_failed(self, job: Job, reason: str) -> None:
        """Say at once that a job failed."""
        from sslkit.experiment.observation import name_job

        self._running.pop(job.id, None)
        if self._remaining:
            self._remaining.failed(job)
        self.console.print(Text.assemble(("failed:", "red"), f" {line(name_job(job))}: {gist(reason)}"), soft_wrap=True)

    def warned(self, text: str) -> None:
        """Say at once what is not as it should be."""
        self.console.print(Text.assemble(("warning:", "yellow"), f" {printable(text)}"), soft_wrap=True)

    def seconds_left(self) -> float | None:
        """Return how long the stage takes yet; None while that is not known."""
        if self._stage == "jobs":
            return self._remaining.seconds() if self._remaining else None
        passed = self.clock() - self._began
        return passed * (self._total - self._done) / self._done if self._done and passed >= 2 else None


class _Running:
    """A job under way, as it is shown."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0
        self.total: int | None = None


def follow_run(*, quiet: bool = False) -> Progress:
    """Return what is to observe a run: as much as the standard error is fit for, or as little as may be."""
    console = make_console(stderr=True)
    if quiet:
        return Progress(console)
    if redraws(console):
        from sslkit.cli.display.live_progress import LiveProgress

        return LiveProgress(console)
    from sslkit.cli.display.plain_progress import PlainProgress

    return PlainProgress(console)
