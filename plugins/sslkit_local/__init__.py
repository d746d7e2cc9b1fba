"""The ``local`` executor: a process a job, on this machine.

Processes are forked from a server process that has torch and the plugins loaded and has never started a thread of its
own: starting a job costs a tenth of a second rather than seconds. Each job computes in one thread, so that its result
does not depend on how many jobs run beside it; a job that takes more fails. The job that most work waits for is the
first to start. On a machine with several GPUs, the n-th job at a time computes on the n-th GPU.

A job whose process dies, killed for want of memory say, is tried once more, beside one job fewer than before; a job
that raises an error is not, since it would raise it again. A job of several processes takes as many cores.

The last jobs share the cores: where fewer than two rounds are left and cores would be idle in the last of them, the
waiting jobs begin beside those that run, as far as memory allows.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from multiprocessing.connection import wait
from typing import Any

from sslkit import Executor, Job, JobObserver, JobQueue, PluginConfig, hookimpl, stops_held
from sslkit_local import sharing, worker
from sslkit_local.worker import Worker

_SILENCE = 600.0
"""Seconds after which a job that tells nothing is spoken of, and again after each such span."""

_ADVICE = (
    "Run the same command again, with --set compute.workers=1 if memory is short. "
    "A script that calls sslkit.run needs 'if __name__ == \"__main__\":' around the call."
)


class Local(Executor[PluginConfig]):
    """Runs jobs as processes on this machine, one a core."""

    name = "local"
    api_version = 1
    Config = PluginConfig

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        """Run every job once those it waits for are done, at most ``workers`` at a time but for the last ones."""
        shift = _Shift(jobs, workers, observer)
        try:
            shift.work()
        finally:
            worker.stop(shift.running)


class _Shift:
    """Jobs on their way: the queue of those that wait, and the processes of those that run."""

    def __init__(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.workers, self.observer = workers, observer
        self.queue = JobQueue(jobs, observer)
        self.running: list[Worker] = []

    def work(self) -> None:
        while self.queue:
            self._start_due()
            for ended in self._hear():
                self.running.remove(ended)
                self._settle(ended)

    def _start_due(self) -> None:
        ready = self.queue.ready()
        careful = any(map(self.queue.tried, [*ready[:1], *(entry.job for entry in self.running)]))
        most = max(1, self.workers - 1) if careful else self.workers
        last = not careful and len(ready) == len(self.queue.waiting) and _share_cores(self.running, ready, self.workers)
        for job in ready:
            taken = sum(entry.job.processes for entry in self.running)
            if not last and taken and taken + job.processes > most:
                return  # a smaller one behind it could begin, and would keep it waiting for ever
            self._start(job)
            if self.queue.tried(job):
                return

    def _start(self, job: Job) -> None:
        slot = _free_slot(self.running, job.processes)
        again = self.queue.tried(job)
        with stops_held():
            self.running.append(worker.start(self.context, job, slot, again=again))
        self.queue.started(job)

    def _hear(self) -> Iterator[Worker]:
        """Pass on what running jobs report, once one of them does or all have long been silent; yield the ended."""
        by_pipe = {entry.pipe: entry for entry in self.running}
        spoken = wait(list(by_pipe), timeout=_SILENCE)
        for pipe in spoken:
            entry = by_pipe[pipe]  # type: ignore[index]  # only pipes were waited for
            told = entry.listen()
            if told is None:
                yield entry
            elif told:
                self.observer.progressed(entry.job, told)
        for entry in by_pipe.values():
            if time.monotonic() - entry.heard > _SILENCE:
                entry.heard = time.monotonic()
                self.observer.progressed(entry.job, {"warning": f"has told nothing for {_SILENCE / 60:.0f} minutes"})

    def _settle(self, ended: Worker) -> None:
        if ended.done:
            self.queue.finished(ended.job)
        elif ended.failure is not None:
            self.queue.failed(ended.job, ended.failure)
        else:
            self.queue.died(ended.job, ended.how_it_died(), _ADVICE)


def _free_slot(running: Sequence[Worker], processes: int) -> int:
    """Return the lowest number whose GPUs are no other job's: job n of two processes has those of 2n and 2n + 1."""
    taken = {gpu for entry in running for gpu in _gpus(entry.slot, entry.job.processes)}
    return next(slot for slot in count() if taken.isdisjoint(_gpus(slot, processes)))


def _gpus(slot: int, processes: int) -> range:
    return range(slot * processes, (slot + 1) * processes)


def _share_cores(running: Sequence[Worker], ready: Sequence[Job], workers: int) -> bool:
    """Return whether the last jobs should begin at once, more of them than there are cores."""
    import torch

    total = len(running) + len(ready)
    if not ready or len(running) < workers or total >= 2 * workers or workers != _cores():
        return False
    if any(job.processes > 1 for job in (*ready, *(entry.job for entry in running))):
        return False  # what pays is reckoned of jobs of one core
    if torch.accelerator.is_available() or not all(entry.peak and not entry.again for entry in running):
        return False
    pays = sharing.pays([entry.left for entry in running], [job.cost for job in ready], workers)
    return pays and total * max(entry.peak for entry in running) < sharing.free_memory()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@hookimpl
def sslkit_executors() -> Iterable[type[Executor[Any]]]:
    """Announce the executor."""
    return [Local]
