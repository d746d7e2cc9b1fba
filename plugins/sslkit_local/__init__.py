"""The ``local`` executor: a process a job, on this machine.

Processes are forked from a server process that has torch and the plugins loaded and has never started a thread of its
own: starting a job costs a tenth of a second rather than seconds. Each job computes in one thread, so that its result
does not depend on how many jobs run beside it; a job that takes more fails. The job that most work waits for is the
first to start. On a machine with several GPUs, the n-th job at a time computes on the n-th GPU.

A job whose process dies, killed for want of memory say, is tried once more, beside one job fewer than before; a job
that raises an error is not, since it would raise it again.

The last jobs share the cores: where fewer than two rounds are left and cores would be idle in the last of them, the
waiting jobs begin beside those that run, as far as memory allows.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from sslkit import NOT_RUN, Executor, Job, JobObserver, PluginConfig, hookimpl, longest_first, stops_held
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
    """Jobs on their way: those that wait, those that run, those whose process died, and those that are lost."""

    def __init__(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.workers, self.observer = workers, observer
        self.waiting = {job.id: job for job in longest_first(jobs)}
        self.unfinished = set(self.waiting)
        self.running: list[Worker] = []
        self.died: list[Job] = []
        self.lost: dict[str, tuple[str, ...]] = {}  # what failed or cannot run, each with the failed jobs behind it

    def work(self) -> None:
        while self.waiting or self.running or self.died:
            self._start_due()
            if not self.running:
                raise ValueError(f"the jobs {', '.join(self.waiting)} wait for one another")
            for ended in self._hear():
                self.running.remove(ended)
                self._settle(ended)
            self._give_up()

    def _start_due(self) -> None:
        fewer = max(1, self.workers - 1)
        if self.died:
            if len(self.running) < fewer:
                self._start(self.died.pop(0), again=True)
            return
        ready = [job for job in self.waiting.values() if self.unfinished.isdisjoint(job.after)]
        last = len(ready) == len(self.waiting) and _share_cores(self.running, ready, self.workers)
        most = fewer if any(entry.again for entry in self.running) else self.workers
        for job in ready if last else ready[: max(0, most - len(self.running))]:
            self._start(self.waiting.pop(job.id))
            self.observer.started(job)

    def _start(self, job: Job, *, again: bool = False) -> None:
        slot = min(set(range(len(self.running) + 1)) - {entry.slot for entry in self.running})
        with stops_held():
            self.running.append(worker.start(self.context, job, slot, again=again))

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
        job = ended.job
        if ended.done:
            self.unfinished.remove(job.id)
            self.observer.finished(job)
        elif ended.failure is None and not ended.again:
            self.died.append(job)
            self.observer.progressed(job, {"warning": f"{ended.how_it_died()}; it is tried once more"})
        else:
            self.lost[job.id] = (job.id,)
            self.observer.failed(job, ended.failure or f"{ended.how_it_died()}, for the second time. {_ADVICE}")

    def _give_up(self) -> None:
        """Report every job that needs a failed one, or needs one that does."""
        while hopeless := [job for job in self.waiting.values() if not self.lost.keys().isdisjoint(job.after)]:
            for job in hopeless:
                del self.waiting[job.id]
                causes = (cause for name in job.after for cause in self.lost.get(name, ()))
                self.lost[job.id] = tuple(dict.fromkeys(causes))
                self.observer.failed(job, f"{NOT_RUN}{', '.join(self.lost[job.id])}, which failed")


def _share_cores(running: Sequence[Worker], ready: Sequence[Job], workers: int) -> bool:
    """Return whether the last jobs should begin at once, more of them than there are cores."""
    import torch

    total = len(running) + len(ready)
    if not ready or len(running) < workers or total >= 2 * workers or workers != _cores():
        return False
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
