"""How long a run takes on few workers and on many, what bounds it, and in which order its jobs come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sslkit.experiment.cell import CellJob
from sslkit.experiment.plan import Jobs
from sslkit.experiment.schedule import critical_path, enough_workers, makespan, processes_of
from sslkit.interfaces import Job, longest_first

MANY = (4, 16, 64)
"""Numbers of workers beside the machine's own that a forecast is made for."""

START_ELSEWHERE = 4.0
"""Seconds that a job of a cluster takes to begin: a fresh Python that imports torch and the plugins."""

Basis = Literal["bench", "run", "cost"]
"""What a forecast rests on."""


@dataclass(frozen=True)
class Wave:
    """Jobs of a run that are alike, in the order in which executors begin them.

    Attributes:
        kind: ``"pretraining"``, ``"features"`` or ``"cells"``.
        pretext: the pretext task; empty for an arm that uses none.
        arm: the arm of cells; empty for other jobs.
        jobs: how many there are in the whole run.
        missing: how many of them are still to be done.
        waits_for: the kind of job that each of them waits for; empty where each may begin at once.
        amount: what one of the missing takes, in the unit of the forecast; the mean.
    """

    kind: str
    pretext: str
    arm: str
    jobs: int
    missing: int
    waits_for: str
    amount: float


@dataclass(frozen=True)
class OnWorkers:
    """A run on a number of workers.

    Attributes:
        workers: jobs at a time.
        own: whether it is the number that the configuration gives this machine.
        amount: until the last job ends, in the unit of the forecast.
        busy: share of that time in which a worker has a job, the mean; 0..1.
    """

    workers: int
    own: bool
    amount: float
    busy: float


@dataclass(frozen=True)
class Forecast:
    """What is still to be done of a run, and how long that takes.

    Amounts are in hours where anything was measured; otherwise in thousand images through a forward pass, a backward
    pass counting two, and how many views a pretext task makes of an image is not known.

    Attributes:
        basis: ``"bench"``: what 'sslkit bench' measured of the configuration on this machine; ``"run"``: the times of
            the jobs that the run directory holds; ``"cost"``: nothing was measured.
        unit: ``"hours"``, or ``"thousand images"``.
        waves: the jobs, those first that begin first.
        on_workers: how long it takes by the number of workers.
        critical_path: ids of the chain of jobs that bounds the run on any number of workers.
        critical_amount: how long that chain takes.
        enough_workers: beyond so many, more workers make it no shorter.
        total: of all jobs together: core-hours, or GPU-hours.
    """

    basis: Basis
    unit: str
    waves: tuple[Wave, ...]
    on_workers: tuple[OnWorkers, ...]
    critical_path: tuple[str, ...]
    critical_amount: float
    enough_workers: int
    total: float


def forecast(jobs: Jobs, workers: int, seconds: Mapping[str, float], basis: Basis) -> Forecast:
    """Return how long the jobs take that are missing.

    Args:
        jobs: all jobs of the run.
        workers: jobs at a time on this machine.
        seconds: of each job by its id; empty where nothing is known.
        basis: what the seconds rest on.
    """
    missing = jobs.missing()
    scale, unit = (3600.0, "hours") if seconds else (1e3, "thousand images")
    start = START_ELSEWHERE if seconds else 0.0

    def here(job: Job) -> float:
        return seconds[job.id] if seconds else job.cost

    chain = critical_path(missing, here)
    return Forecast(
        basis=basis if seconds else "cost",
        unit=unit,
        waves=_waves(jobs, missing, lambda job: here(job) / scale),
        on_workers=tuple(
            _on_workers(missing, number, here if number == workers else lambda job: here(job) + start, scale, workers)
            for number in sorted({workers, *MANY})
        ),
        critical_path=tuple(job.id for job in chain),
        critical_amount=sum(map(here, chain)) / scale,
        enough_workers=enough_workers(missing, here),
        total=sum(here(job) * processes_of(job) for job in missing) / scale,
    )


def _on_workers(jobs: Sequence[Job], number: int, seconds: Callable[[Job], float], scale: float, own: int) -> OnWorkers:
    length = makespan(jobs, number, seconds)
    work = sum(seconds(job) * processes_of(job, number) for job in jobs)
    return OnWorkers(number, number == own, length / scale, work / (length * number) if length else 0.0)


def _waves(jobs: Jobs, missing: Sequence[Job], amount: Callable[[Job], float]) -> tuple[Wave, ...]:
    still = {job.id for job in missing}
    groups: dict[tuple[str, str, str, str], list[Job]] = {}
    for job in longest_first(jobs.everything):
        groups.setdefault(_alike(job), []).append(job)
    waves = []
    for (kind, pretext, arm, waits_for), group in groups.items():
        left = [amount(job) for job in group if job.id in still]
        mean = sum(left) / len(left) if left else 0.0
        waves.append(Wave(kind, pretext, arm, len(group), len(left), waits_for, mean))
    return tuple(waves)


def _alike(job: Job) -> tuple[str, str, str, str]:
    """Return kind, pretext task, arm, and what jobs of that kind wait for."""
    waits_for = job.after[-1].partition("/")[0] if job.after else ""
    if isinstance(job, CellJob):
        return "cells", job.pretext, job.arm, waits_for
    kind, pretext = job.id.split("/")[:2]
    return kind, pretext, "", waits_for
