"""Whether the last jobs had better share the cores than wait for one another.

Three equal jobs on two cores take two rounds one after another, and a round and a half where the system gives each of
them two thirds of a core: preemption loses nothing that a schedule could gain (McNaughton 1959).
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence

from sslkit import free_memory

__all__ = ["free_memory", "pays", "peak_memory", "queued", "shared"]

_WORTH = 0.95
"""Of the time that is left, what sharing may take at most: jobs that share caches slow each other a little."""


def pays(running: Sequence[float], waiting: Sequence[float], workers: int) -> bool:
    """Return whether all is done clearly sooner if the waiting jobs begin now, beside those that run.

    Args:
        running: what is left of the jobs that run, in any unit.
        waiting: the jobs that may begin, in their order.
        workers: cores.

    Example:
        >>> pays([1.0, 1.0], [1.0], 2), pays([9.0, 1.0], [1.0], 2)
        (True, False)
    """
    return shared([*running, *waiting], workers) < _WORTH * queued(running, waiting, workers)


def queued(running: Sequence[float], waiting: Sequence[float], workers: int) -> float:
    """Return the time until all is done where each waiting job begins as soon as a core is free."""
    ends = list(running)
    heapq.heapify(ends)
    for work in waiting:
        start = heapq.heappop(ends) if len(ends) >= workers else 0.0
        heapq.heappush(ends, start + work)
    return max(ends, default=0.0)


def shared(work: Sequence[float], workers: int) -> float:
    """Return the time until all is done where all jobs run at once, in equal shares of the cores, one each at most."""
    now = done = 0.0
    for ended, amount in enumerate(sorted(work)):
        now += (amount - done) * max(1.0, (len(work) - ended) / workers)
        done = amount
    return now


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held; files that it maps count as well."""
    import resource

    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
