"""The ``local`` executor: a process a job, on this machine.

Processes are forked from a server process that has torch and the plugins loaded and has never started a thread of its
own: starting a job costs a tenth of a second rather than seconds. Each job computes in one thread, so that its result
does not depend on how many jobs run beside it.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sslkit import Executor, Job, JobObserver, PluginConfig, hookimpl
from sslkit.errors import SslkitError


@dataclass(eq=False)
class _Running:
    job: Job
    process: BaseProcess
    pipe: Connection
    outcome: str | None = None  # "" once done, a reason once failed, None while neither was heard


class Local(Executor[PluginConfig]):
    """Runs jobs as processes on this machine, one a core."""

    name = "local"
    Config = PluginConfig

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        """Run every job once those it waits for are done, at most ``workers`` at a time."""
        context = multiprocessing.get_context("forkserver")
        waiting = {job.id: job for job in jobs}
        unfinished = set(waiting)
        lost: dict[str, tuple[str, ...]] = {}  # what failed or cannot run, each with the failed jobs that are the cause
        running: list[_Running] = []
        try:
            while waiting or running:
                for job in list(waiting.values()):
                    if unfinished.isdisjoint(job.after) and len(running) < workers:
                        running.append(_start(context, waiting.pop(job.id)))
                        observer.started(job)
                if not running:
                    raise ValueError(f"the jobs {', '.join(waiting)} wait for one another")
                for ended in _hear(running, observer):
                    running.remove(ended)
                    if ended.outcome == "":
                        unfinished.remove(ended.job.id)
                        observer.finished(ended.job)
                    else:
                        lost[ended.job.id] = (ended.job.id,)
                        observer.failed(ended.job, ended.outcome or _how_it_died(ended.process))
                _give_up(waiting, lost, observer)
        finally:
            for other in running:
                other.process.terminate()
            for other in running:
                other.process.join(5)
                other.process.kill()


def _give_up(waiting: dict[str, Job], lost: dict[str, tuple[str, ...]], observer: JobObserver) -> None:
    """Report every job that needs a failed one, or needs one that does."""
    while hopeless := [job for job in waiting.values() if not lost.keys().isdisjoint(job.after)]:
        for job in hopeless:
            del waiting[job.id]
            lost[job.id] = tuple(dict.fromkeys(cause for name in job.after for cause in lost.get(name, ())))
            observer.failed(job, f"not run: it needs {', '.join(lost[job.id])}, which failed")


def _start(context: Any, job: Job) -> _Running:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, theirs), name=job.id, daemon=True)
    process.start()
    theirs.close()
    return _Running(job, process, ours)


def _hear(running: Sequence[_Running], observer: JobObserver) -> list[_Running]:
    """Pass on what running jobs report, until at least one pipe has spoken; return those that ended."""
    ended = []
    by_pipe = {entry.pipe: entry for entry in running}
    for pipe in wait(list(by_pipe)):
        entry = by_pipe[pipe]  # type: ignore[index]  # only pipes were waited for
        try:
            message = entry.pipe.recv()
        except (EOFError, OSError):  # the process has closed its end: it is over, well or not
            entry.process.join()
            entry.pipe.close()
            ended.append(entry)
            continue
        if isinstance(message, Mapping):
            observer.progressed(entry.job, message)
        else:
            entry.outcome = message
    return ended


def _work(job: Job, pipe: Connection) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    torch.set_num_threads(1)
    try:
        job.execute(pipe.send)
        pipe.send("")
    except SslkitError as error:
        pipe.send(str(error))
    except Exception:  # anything a plugin raises is this job's failure, told with its traceback
        pipe.send(traceback.format_exc())
    finally:
        pipe.close()


def _how_it_died(process: BaseProcess) -> str:
    code = process.exitcode or 0
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name} (out of memory?); run the same command again"
    return f"its process ended with status {code} before its result stood; run the same command again"


@hookimpl
def sslkit_executors() -> Iterable[type[Executor[Any]]]:
    """Announce the executor."""
    return [Local]
