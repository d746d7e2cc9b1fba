"""The ``local`` executor: a process a job, on this machine.

Processes are forked from a server process that has torch and the plugins loaded and has never started a thread of its
own: starting a job costs a tenth of a second rather than seconds. Each job computes in one thread, so that its result
does not depend on how many jobs run beside it; a job that takes more fails. The job that most work waits for is the
first to start. On a machine with several GPUs, the n-th job at a time computes on the n-th GPU.

The last jobs share the cores: where fewer than two rounds are left and cores would be idle in the last of them, the
waiting jobs begin beside those that run, as far as memory allows.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from sslkit import Executor, Job, JobObserver, PluginConfig, hookimpl, longest_first
from sslkit.errors import RunError, SslkitError
from sslkit_local import sharing

_PATIENCE = 10.0
"""Seconds that a process may take to end once its job has."""

_THREADS = 1
"""Threads that a job computes in."""


@dataclass(eq=False)
class _Running:
    job: Job
    process: BaseProcess
    pipe: Connection
    slot: int
    left: float = 0.0  # of the job's cost
    peak: int = 0  # bytes of memory, once it has told
    failure: str | None = None  # the reason, once it has failed
    done: bool = False


class Local(Executor[PluginConfig]):
    """Runs jobs as processes on this machine, one a core."""

    name = "local"
    Config = PluginConfig

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        """Run every job once those it waits for are done, at most ``workers`` at a time but for the last ones."""
        context = multiprocessing.get_context("forkserver")
        waiting = {job.id: job for job in longest_first(jobs)}
        unfinished = set(waiting)
        lost: dict[str, tuple[str, ...]] = {}  # what failed or cannot run, each with the failed jobs that are the cause
        running: list[_Running] = []
        try:
            while waiting or running:
                ready = [job for job in waiting.values() if unfinished.isdisjoint(job.after)]
                last = len(ready) == len(waiting) and _share_cores(running, ready, workers)
                for job in ready if last else ready[: max(0, workers - len(running))]:
                    slot = min(set(range(len(running) + 1)) - {entry.slot for entry in running})
                    running.append(_start(context, waiting.pop(job.id), slot))
                    observer.started(job)
                if not running:
                    raise ValueError(f"the jobs {', '.join(waiting)} wait for one another")
                for ended in _hear(running, observer):
                    running.remove(ended)
                    if ended.done:
                        unfinished.remove(ended.job.id)
                        observer.finished(ended.job)
                    else:
                        lost[ended.job.id] = (ended.job.id,)
                        observer.failed(ended.job, ended.failure or _how_it_died(ended.process))
                _give_up(waiting, lost, observer)
        finally:
            for other in running:
                other.process.terminate()
            for other in running:
                other.process.join(5)
                other.process.kill()
                other.process.join()


def _share_cores(running: Sequence[_Running], ready: Sequence[Job], workers: int) -> bool:
    """Return whether the last jobs should begin at once, more of them than there are cores."""
    import torch

    total = len(running) + len(ready)
    if not ready or len(running) < workers or total >= 2 * workers or workers != _cores():
        return False
    if torch.accelerator.is_available() or not all(entry.peak for entry in running):
        return False
    pays = sharing.pays([entry.left for entry in running], [job.cost for job in ready], workers)
    return pays and total * max(entry.peak for entry in running) < sharing.free_memory()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _give_up(waiting: dict[str, Job], lost: dict[str, tuple[str, ...]], observer: JobObserver) -> None:
    """Report every job that needs a failed one, or needs one that does."""
    while hopeless := [job for job in waiting.values() if not lost.keys().isdisjoint(job.after)]:
        for job in hopeless:
            del waiting[job.id]
            lost[job.id] = tuple(dict.fromkeys(cause for name in job.after for cause in lost.get(name, ())))
            observer.failed(job, f"not run: it needs {', '.join(lost[job.id])}, which failed")


def _start(context: Any, job: Job, slot: int) -> _Running:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, theirs, slot), name=job.id, daemon=True)
    process.start()
    theirs.close()
    return _Running(job, process, ours, slot, left=job.cost)


def _hear(running: Sequence[_Running], observer: JobObserver) -> list[_Running]:
    """Pass on what running jobs report, until at least one pipe has spoken; return those that ended."""
    ended = []
    by_pipe = {entry.pipe: entry for entry in running}
    for pipe in wait(list(by_pipe)):
        entry = by_pipe[pipe]  # type: ignore[index]  # only pipes were waited for
        try:
            message = entry.pipe.recv()
        except (EOFError, OSError):  # the process has closed its end: it is over, well or not
            entry.process.join(_PATIENCE)
            entry.process.kill()  # a thread that a plugin started may keep a finished process alive
            entry.process.join()
            entry.pipe.close()
            ended.append(entry)
            continue
        match message:
            case ("progress", values, peak):
                entry.peak = peak
                if values.get("total"):
                    entry.left = entry.job.cost * (1 - values.get("done", 0) / values["total"])
                observer.progressed(entry.job, values)
            case ("done", _):
                entry.done = True
            case ("failed", reason):
                entry.failure = reason
    return ended


def _work(job: Job, pipe: Connection, slot: int) -> None:
    import torch
    from threadpoolctl import threadpool_info, threadpool_limits

    os.environ["SSLKIT_WORKER"] = str(slot)
    # For libraries that the job loads; those that are loaded already are told below.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(_THREADS)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    signal.signal(signal.SIGTERM, _leave)
    torch.set_num_threads(_THREADS)

    def report(values: Mapping[str, Any]) -> None:
        _refuse_threads(torch.get_num_threads())
        pipe.send(("progress", values, sharing.peak_memory()))

    try:
        with threadpool_limits(_THREADS):
            job.execute(report)
            _refuse_threads(*(library["num_threads"] for library in threadpool_info()))
        pipe.send(("done", None))
    except SslkitError as error:
        pipe.send(("failed", str(error) or type(error).__name__))
    except Exception:  # anything a plugin raises is this job's failure, told with its traceback
        pipe.send(("failed", traceback.format_exc()))
    finally:
        pipe.close()


def _refuse_threads(*taken: int) -> None:
    if max(taken, default=0) > _THREADS:
        raise RunError(
            f"a plugin computes in {max(taken)} threads where a job has {_THREADS}, which slows the other jobs and may "
            "change results; take the call that sets them, such as torch.set_num_threads, out of the plugin"
        )


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # unlike dying by the signal, this takes half-written files along


def _how_it_died(process: BaseProcess) -> str:
    code = process.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name
        cause = {"SIGKILL": " (out of memory?)", "SIGBUS": " (disk full?)"}.get(name, "")
        return f"its process was killed by {name}{cause}; run the same command again"
    return (
        f"its process ended with status {code} before its result stood; run the same command again. "
        "A script that calls sslkit.run needs 'if __name__ == \"__main__\":' around the call."
    )


@hookimpl
def sslkit_executors() -> Iterable[type[Executor[Any]]]:
    """Announce the executor."""
    return [Local]
