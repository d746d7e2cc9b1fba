"""How long the jobs of a run take, by the times that the run itself has left in its directory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sslkit.config.loading import read_toml
from sslkit.engine.precision import Compute
from sslkit.errors import SslkitError
from sslkit.experiment.cell import CellJob
from sslkit.experiment.environment import hardware
from sslkit.experiment.features import FeaturesJob
from sslkit.experiment.plan import Jobs
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.run_directory import RunDirectory


def run_seconds(jobs: Jobs, directory: RunDirectory, compute: Compute, workers: int) -> dict[str, float]:
    """Return how long each job takes, by the pace of those that are done or begun in the run directory.

    Every epoch of a pretraining has written down how long it took. Cells and features have not: what the finished calls
    of the run took, times their workers, less the pretrainings, is what they took together. Where there is no finished
    call, the pace of the pretrainings counts for them too, and the other way round.

    Args:
        jobs: all jobs of the run.
        directory: where it has begun.
        compute: what it computes on; times of other hardware are not used.
        workers: jobs at a time where ``compute.workers`` is ``"auto"``.

    Returns:
        Seconds by the id of the job; empty where nothing was timed.
    """
    paces = {task: pace for task, group in _by_task(jobs.pretrainings).items() if (pace := _pace(group))}
    others: list[FeaturesJob | CellJob] = [*jobs.features, *jobs.cells]
    spent = _seconds_of_calls(directory, compute, workers) - sum(
        job.cost * paces.get(_task(job), 0.0) for job in _done(jobs)
    )
    cost = sum(job.cost for job in others if job.done)
    mean = sum(paces.values()) / len(paces) if paces else None
    rest = spent / cost if spent > 0 and cost > 0 else mean
    if rest is None:
        return {}
    found = {job.id: job.cost * paces.get(_task(job), mean or rest) for job in jobs.pretrainings}
    return found | {job.id: job.cost * rest for job in others}


def _task(job: PretrainingJob) -> str:
    return job.task.info.name


def _by_task(pretrainings: Iterable[PretrainingJob]) -> dict[str, list[PretrainingJob]]:
    groups: dict[str, list[PretrainingJob]] = {}
    for job in pretrainings:
        groups.setdefault(_task(job), []).append(job)
    return groups


def _done(jobs: Jobs) -> list[PretrainingJob]:
    return [job for job in jobs.pretrainings if job.done]


def _pace(pretrainings: Sequence[PretrainingJob]) -> float:
    """Return the seconds that a unit of cost takes in the epochs that have ended; 0 where none has."""
    seconds = cost = 0.0
    for job in pretrainings:
        try:
            lines = [json.loads(line) for line in job.log.read_text(encoding="utf-8").splitlines()]
            seconds += sum(float(line["seconds"]) for line in lines)
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            continue  # none has ended, or the log is damaged
        cost += job.cost * len(lines) / job.recipe.pretraining.epochs
    return seconds / cost if cost else 0.0


def _seconds_of_calls(directory: RunDirectory, compute: Compute, workers: int) -> float:
    """Return what the workers of the finished calls have taken for jobs, all together; 0 where none is known."""
    try:
        sessions = json.loads(directory.run.read_text(encoding="utf-8"))["sessions"]
        asked = read_toml(directory.config).get("compute", {}).get("workers", "auto")
        workers = workers if asked == "auto" else asked
        own = hardware(compute)
        return sum(float(call["timings"]["jobs"]) * workers for call in sessions if call["hardware"] == own)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, SslkitError):
        return 0.0
