"""The ``ray`` executor: a Ray task a job, on as many machines as a Ray cluster has.

Ray (Moritz et al. 2018, arXiv 1712.05889) finds a node for each job and says what became of it. Each job is a process
of its own, which computes in one thread; at most ``workers`` cores are asked for at a time, so that the cluster's other
users are left theirs. What Ray would do again by itself is told apart here: a job that raises an error has failed; one
whose process dies is tried once more, with twice the cores where its node has them, so that less runs beside it; one
whose node dies begins anew on another.

Nodes either see the run directory and the cache of images as the driver does, or see nothing of it: then images and
weights travel through Ray's object store, and so do the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sslkit import Executor, Job, JobObserver, hookimpl
from sslkit_ray.options import RayConfig


class Ray(Executor[RayConfig]):
    """Runs jobs as tasks of a Ray cluster, or of one that it starts on this machine."""

    name = "ray"
    api_version = 1
    Config = RayConfig

    def __init__(self, config: RayConfig) -> None:
        super().__init__(config)
        self._cluster: Any = None

    def default_workers(self, device: str) -> int | None:
        """Return what the nodes of the cluster have in all; None where it is to be started on this machine."""
        from sslkit_ray.cluster import connect, where

        if where(self.config) is None:
            return None
        self._cluster = self._cluster or connect(self.config)
        return self._cluster.room(device) or None

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        """Run every job once those it waits for are done, on at most ``workers`` cores at a time."""
        from sslkit_ray.cluster import connect, sentences_for_errors, where
        from sslkit_ray.shift import Shift

        if not jobs:
            return
        cores = max(workers, *(job.processes for job in jobs)) if where(self.config) is None else None
        cluster, self._cluster = self._cluster or connect(self.config, cores), None
        try:
            with sentences_for_errors():
                shift = Shift(cluster, jobs, workers, observer)
                try:
                    shift.work()
                finally:
                    shift.stop()
        finally:
            cluster.leave()


@hookimpl
def sslkit_executors() -> Iterable[type[Executor[Any]]]:
    """Announce the executor."""
    return [Ray]
