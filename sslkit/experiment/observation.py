"""Who hears of a run: whoever shows its progress, and the plugins on the run hooks."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sslkit.blame import blame, watched
from sslkit.experiment.cell import CellJob
from sslkit.experiment.names import name_cell
from sslkit.experiment.results import Row, read_results
from sslkit.experiment.run_directory import RunDirectory
from sslkit.interfaces import Job
from sslkit.registry import Registry

logger = logging.getLogger("sslkit")


def name_job(job: Job) -> str:
    """Return in words which job it is."""
    return name_cell(job.coordinates) if isinstance(job, CellJob) else job.id


def describe_job(job: Job) -> str:
    """Return in words which job it is, and the folder of a cell."""
    return f"{name_job(job)} ({job.id})" if isinstance(job, CellJob) else job.id


class RunObserver(Protocol):
    """Hears of a run as it goes; the command line's progress is one."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins: ``"ingest"`` with its number of images, or ``"jobs"`` with its number of jobs."""

    def advanced(self, done: int) -> None:
        """So much of the stage is done."""

    def job_started(self, job: Job) -> None:
        """A job begins."""

    def job_progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """A job reports: ``done`` and ``total`` updates, or the metrics of an epoch."""

    def job_finished(self, job: Job) -> None:
        """A job's results stand."""

    def job_failed(self, job: Job, reason: str) -> None:
        """A job failed."""

    def warned(self, text: str) -> None:
        """Something is not as it should be, and the run goes on."""


@dataclass(frozen=True)
class PlannedJobs:
    """What the stage ``"jobs"`` is going to do.

    Attributes:
        jobs: those that are missing, in the order of the plan.
        done: the rows of results.csv that stand already, of earlier calls.
        workers: jobs at a time.
        metric: the column of results.csv that the head calls its primary metric.
        seconds: of each job by its id, as ``sslkit bench`` measured them on this machine; empty where it did not.
    """

    jobs: Sequence[Job]
    done: Sequence[Row]
    workers: int
    metric: str
    seconds: Mapping[str, float]


@runtime_checkable
class PlanObserver(Protocol):
    """What a [RunObserver][sslkit.RunObserver] may have besides, to hear which jobs there are."""

    def jobs_planned(self, plan: PlannedJobs) -> None:
        """The jobs are known; called once, before the stage ``"jobs"`` begins."""


@runtime_checkable
class ScoreObserver(Protocol):
    """What a [RunObserver][sslkit.RunObserver] may have besides, to hear of scores as they come."""

    def cell_scored(self, row: Mapping[str, Any]) -> None:
        """A cell has been scored: its row of results.csv, the fit across folds yet to come."""


class Silent:
    """Hears everything and says nothing, but for warnings, which go to the log."""

    def stage(self, name: str, total: int) -> None: ...  # noqa: D102
    def advanced(self, done: int) -> None: ...  # noqa: D102
    def job_started(self, job: Job) -> None: ...  # noqa: D102
    def job_progressed(self, job: Job, values: Mapping[str, Any]) -> None: ...  # noqa: D102
    def job_finished(self, job: Job) -> None: ...  # noqa: D102
    def job_failed(self, job: Job, reason: str) -> None: ...  # noqa: D102

    def warned(self, text: str) -> None:  # noqa: D102
        logger.warning(text)


class Hooks:
    """Calls the run hooks of the installed plugins; one that fails is named in the log and disturbs nothing."""

    def __init__(self, registry: Registry, requested: Iterable[str] = ()) -> None:
        self._hooks, self._modules = registry.hooks, registry.modules
        names = set(requested)
        self._unasked = {told.module for told in registry.observers if told.on_request and told.name not in names}

    def run_started(
        self,
        run_directory: Path,
        config: Mapping[str, Any],
        epochs: Sequence[Mapping[str, Any]],
        results: Sequence[Row],
    ) -> None:
        """Call ``sslkit_run_started``."""
        told = {"run_directory": run_directory, "config": config, "epochs": epochs, "results": results}
        self._call("sslkit_run_started", **told)

    def epoch_finished(self, job: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Call ``sslkit_epoch_finished``."""
        self._call("sslkit_epoch_finished", job=job, epoch=epoch, metrics=metrics)

    def cell_finished(self, result: Mapping[str, Any]) -> None:
        """Call ``sslkit_cell_finished``."""
        self._call("sslkit_cell_finished", result=result)

    def run_finished(
        self, run_directory: Path, summary: Sequence[Row], results: Sequence[Row], about: Mapping[str, Any]
    ) -> None:
        """Call ``sslkit_run_finished``."""
        told = {"run_directory": run_directory, "summary": summary, "results": results, "about": about}
        self._call("sslkit_run_finished", **told)

    def _call(self, name: str, **arguments: Any) -> None:
        for implementation in getattr(self._hooks, name).get_hookimpls():
            if implementation.plugin_name in self._unasked:
                continue
            owner = self._modules[implementation.plugin_name]
            try:
                with watched(owner, f"its hook {name}"), blame(owner, f"its hook {name}"):
                    # Copies: what a stranger does to what it is told of must not reach the run.
                    implementation.function(**{key: copy.deepcopy(arguments[key]) for key in implementation.argnames})
            except Exception:  # a stranger's observer must not end a run of days
                logger.exception("%s failed in its hook %s; the run goes on", owner.described, name)


class JobRelay:
    """Passes what an executor says of jobs on to the run's observer and to the plugins.

    A run directory that was taken away or replaced ends the run at the next word of a job.

    Attributes:
        failures: each job that failed, and the reason.
        warnings: what else was not as it should be.
    """

    def __init__(self, observer: RunObserver, hooks: Hooks, directory: RunDirectory) -> None:
        self.observer, self.hooks, self.directory = observer, hooks, directory
        self.failures: list[tuple[Job, str]] = []
        self.warnings: list[str] = []
        self.num_done = 0
        self._over: set[str] = set()

    def started(self, job: Job) -> None:
        """Pass on the start of a job."""
        self.observer.job_started(job)

    def planned(self, plan: PlannedJobs) -> None:
        """Pass on which jobs there are, to an observer that hears of it."""
        if isinstance(self.observer, PlanObserver):
            self.observer.jobs_planned(plan)

    def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """Pass on a job's progress."""
        self.directory.require()
        self.observer.job_progressed(job, values)
        if "warning" in values:
            self.warn(f"{describe_job(job)}: {values['warning']}")
        if "epoch" in values:
            self.hooks.epoch_finished(job.id, values["epoch"], values["metrics"])

    def finished(self, job: Job) -> None:
        """Pass on a job's end."""
        self.directory.require()
        self._over.add(job.id)
        self.observer.job_finished(job)
        self.num_done += 1
        self.observer.advanced(self.num_done)
        if isinstance(job, CellJob):
            for row in read_results([job]):  # none where its files were changed since
                if isinstance(self.observer, ScoreObserver):
                    self.observer.cell_scored(row)
                self.hooks.cell_finished(row)

    def warn(self, text: str) -> None:
        """Keep and pass on a warning."""
        self.warnings.append(text)
        self.observer.warned(text)

    def failed(self, job: Job, reason: str) -> None:
        """Keep and pass on a job's failure."""
        self.directory.require()
        self._over.add(job.id)
        self.failures.append((job, reason))
        self.observer.job_failed(job, reason)

    def give_up(self, jobs: Sequence[Job], reason: str) -> None:
        """Call those jobs failed that have neither finished nor failed."""
        for job in jobs:
            if job.id not in self._over:
                self.failed(job, reason)

    def refuse_changed(self, cells: Sequence[CellJob]) -> None:
        """Call those cells failed whose files were changed after they had finished."""
        failed = {job.id for job, _ in self.failures}
        for cell in cells:
            if cell.id not in failed and not cell.done:
                self.failed(cell, f"its files were changed after it was finished: {'; '.join(cell.flaws())}")
