"""How long jobs take on some workers: list scheduling, played through."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from sslkit.interfaces import Job, longest_first


def makespan(jobs: Sequence[Job], workers: int, seconds: Callable[[Job], float]) -> float:
    """Return the seconds until the last job ends, each beginning as soon as it may and a worker is free.

    As executors do, of the jobs that may begin the one with the longest path of work behind it goes first.

    Args:
        jobs: what is to be done; those that they wait for may be missing, if they are done.
        workers: jobs at a time.
        seconds: how long a job takes.

    Example:
        >>> from types import SimpleNamespace as Job
        >>> jobs = [Job(id=name, after=after, cost=1) for name, after in (("a", ()), ("b", ("a",)), ("c", ()))]
        >>> makespan(jobs, 2, lambda job: 10.0), makespan(jobs, 1, lambda job: 10.0)
        (20.0, 30.0)
    """
    waiting = longest_first(jobs)
    unfinished = {job.id for job in jobs}
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for job in [job for job in waiting if unfinished.isdisjoint(job.after)][: workers - len(running)]:
            waiting.remove(job)
            heapq.heappush(running, (now + seconds(job), job.id))
        now, ended = heapq.heappop(running)
        unfinished.discard(ended)
    return now
