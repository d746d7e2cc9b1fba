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


@dataclass
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
        waiting = list(jobs)
        names = {job.id for job in jobs}
        done: set[str] = set()
        failed: set[str] = set()
        running: list[_Running] = []
        try:
            while waiting or running:
                for job in [job for job in waiting if failed.intersection(job.after)]:
                    waiting.remove(job)
                    failed.add(job.id)
                    observer.failed(job, f"not run: it needs {', '.join(failed.intersection(job.after))}, which failed")
                ready = [job for job in waiting if names.intersection(job.after) <= done]
                for job in ready[: workers - len(running)]:
                    waiting.remove(job)
                    running.append(_start(context, job))
                    observer.started(job)
                for ended in _hear(running, observer):
                    running.remove(ended)
                    if ended.outcome == "":
                        done.add(ended.job.id)
                        observer.finished(ended.job)
                    else:
                        failed.add(ended.job.id)
                        observer.failed(ended.job, ended.outcome or _how_it_died(ended.process))
        finally:
            for other in running:
                other.process.terminate()
            for other in running:
                other.process.join(5)
                other.process.kill()


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
