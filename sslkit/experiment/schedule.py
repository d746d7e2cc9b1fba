"""How long jobs take on some workers: list scheduling, played through."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sslkit.interfaces import Job, longest_first


class Placed(NamedTuple):
    """A job of a schedule, and the seconds at which it begins and ends."""

    job: Job
    start: float
    end: float


def play(jobs: Sequence[Job], workers: int, seconds: Callable[[Job], float]) -> list[Placed]:
    """Return when each job begins and ends, each beginning as soon as it may and workers are free.

    As executors do, of the jobs that may begin the one with the longest path of work behind it goes first. A job of
    several processes takes as many workers, or all where there are fewer, and no other begins while it waits for them.

    Args:
        jobs: what is to be done; those that they wait for may be missing, if they are done.
        workers: processes at a time.
        seconds: how long a job takes.

    Returns:
        The jobs in the order in which they begin. Jobs that wait for one another are not among them.

    Example:
        >>> from types import SimpleNamespace as Job
        >>> after = {"a": (), "b": ("a",), "c": ()}
        >>> jobs = [Job(id=name, after=needed, cost=1, processes=1) for name, needed in after.items()]
        >>> [(placed.job.id, placed.start, placed.end) for placed in play(jobs, 2, lambda job: 10.0)]
        [('a', 0.0, 10.0), ('c', 0.0, 10.0), ('b', 10.0, 20.0)]
    """
    order = longest_first(jobs)
    rank = {job.id: number for number, job in enumerate(order)}
    followers: dict[str, list[int]] = {}
    missing = []
    for number, job in enumerate(order):
        needed = {name for name in job.after if name in rank}
        missing.append(len(needed))
        for name in needed:
            followers.setdefault(name, []).append(number)
    ready = [number for number, count in enumerate(missing) if count == 0]
    running: list[tuple[float, int]] = []
    placed: list[Placed] = []
    now, free = 0.0, workers
    while ready or running:
        while ready and processes_of(order[ready[0]], workers) <= free:
            number = heapq.heappop(ready)
            free -= processes_of(order[number], workers)
            placed.append(Placed(order[number], now, now + seconds(order[number])))
            heapq.heappush(running, (placed[-1].end, number))
        now, ended = heapq.heappop(running)
        free += processes_of(order[ended], workers)
        for number in followers.get(order[ended].id, ()):
            missing[number] -= 1
            if missing[number] == 0:
                heapq.heappush(ready, number)
    return placed


def makespan(jobs: Sequence[Job], workers: int, seconds: Callable[[Job], float]) -> float:
    """Return the seconds until the last job of a schedule ends; see [play][sslkit.experiment.schedule.play].

    Example:
        >>> from types import SimpleNamespace as Job
        >>> after = {"a": (), "b": ("a",), "c": ()}
        >>> jobs = [Job(id=name, after=needed, cost=1, processes=1) for name, needed in after.items()]
        >>> makespan(jobs, 2, lambda job: 10.0), makespan(jobs, 1, lambda job: 10.0)
        (20.0, 30.0)
    """
    return max((placed.end for placed in play(jobs, workers, seconds)), default=0.0)


def critical_path(jobs: Sequence[Job], seconds: Callable[[Job], float]) -> list[Job]:
    """Return the chain of jobs, each waiting for the one before, that takes longest: no number of workers is faster.

    Example:
        >>> from types import SimpleNamespace as Job
        >>> after = {"a": (), "b": ("a",), "c": ()}
        >>> jobs = [Job(id=name, after=needed, cost=1, processes=1) for name, needed in after.items()]
        >>> [job.id for job in critical_path(jobs, lambda job: 10.0)]
        ['a', 'b']
    """
    everywhere = play(jobs, sum(processes_of(job) for job in jobs), seconds)
    ends = {placed.job.id: placed for placed in everywhere}
    chain: list[Job] = []
    last = max(everywhere, key=lambda placed: placed.end, default=None)
    while last is not None:
        chain.insert(0, last.job)
        before = [ends[name] for name in last.job.after if name in ends]
        last = max(before, key=lambda placed: placed.end, default=None)
    return chain


def enough_workers(jobs: Sequence[Job], seconds: Callable[[Job], float], margin: float = 0.01) -> int:
    """Return the number of workers beyond which more hardly help: all is done in the time of the critical path then.

    Args:
        jobs: what is to be done.
        seconds: how long a job takes.
        margin: by which share the critical path may be exceeded.

    Example:
        >>> from types import SimpleNamespace as Job
        >>> enough_workers([Job(id=name, after=(), cost=1, processes=1) for name in "abc"], lambda job: 10.0)
        3
    """
    bound = (1 + margin) * sum(map(seconds, critical_path(jobs, seconds)))
    low, high = 1, max(1, sum(processes_of(job) for job in jobs))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if makespan(jobs, middle, seconds) <= bound else (middle + 1, high)
    return low


def processes_of(job: Job, workers: int | None = None) -> int:
    """Return how many workers a job takes, of those that there are."""
    return job.processes if workers is None else min(job.processes, workers)
