"""An executor to be checked, and the runs that it is given."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sslkit.experiment.environment import process_context
from sslkit.interfaces import Executor
from sslkit.testing.jobs import dying_jobs, long_jobs, ordinary_jobs
from sslkit.testing.subjects.subject import Subject
from sslkit.testing.trials import Trial, attempt, attempt_elsewhere


class ExecutorSubject(Subject):
    """An executor, and what comes of a few small jobs."""

    kind = "executor"
    cls: type[Executor[Any]]

    def make(self) -> Executor[Any]:
        """Return the executor as a run makes it, with a server running from which it may fork processes."""
        process_context([self.cls.__module__])
        return self.cls(self.config)

    @cached_property
    def ordinary(self) -> Trial:
        """A run of jobs of which one fails."""
        log = self.folder / "ordinary.log"
        return attempt(self.make(), ordinary_jobs(log), Trial(log))

    @cached_property
    def stopped(self) -> Trial:
        """A run that is stopped by what its observer raises."""
        log = self.folder / "stopped.log"
        return attempt(self.make(), long_jobs(log), Trial(log, stop_at=4))

    @cached_property
    def deadly(self) -> Trial:
        """A run of jobs of which some are killed."""
        log = self.folder / "deadly.log"
        return attempt_elsewhere(self.cls, self.config, dying_jobs(log), Trial(log))
