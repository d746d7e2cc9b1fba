"""One pretraining in several processes: who starts them, hears of them, and ends them all where one is lost.

The process of the job computes nothing. So no process of the pretraining can be lost without its being seen, and none
waits for one that is not there any more.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from torch import distributed

from sslkit.engine.distributed import in_one_thread, joined
from sslkit.engine.precision import Compute
from sslkit.errors import RunError, SslkitError, TrainingDivergedError
from sslkit.experiment.environment import process_context
from sslkit.interfaces import Job, Reporter
from sslkit.interfaces.carrying_out import ONE_THREAD
from sslkit.processes import follow_parent, stops_held

_PATIENCE = 10.0
"""Seconds that a process may take to end once its part is done."""

_ECHO = 3.0
"""Seconds in which the death of a process is known, after others have felt it."""

_GO_ON, _STOP = "go on", "stop"


@dataclass(frozen=True, eq=False)
class _Member:
    """One of the processes, as the process of the job sees it."""

    rank: int
    process: BaseProcess
    pipe: Connection

    def how_it_died(self) -> str:
        code = self.process.exitcode or 0
        if code < 0:
            name = signal.Signals(-code).name
            return f"was killed by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
        return f"ended with status {code} before its part was done"


def supervise(job: Job, compute: Compute, modules: Iterable[str], report: Reporter) -> None:
    """Have a pretraining carried out by as many processes as it asks for, and pass on what the first of them reports.

    Args:
        job: executed in each of the processes, once they have joined.
        compute: what they compute on.
        modules: that they should have loaded.
        report: as of any job; where it raises SystemExit, the first process saves what it has come to.

    Raises:
        SslkitError: what one of them has raised; or that one has died, and which.
    """
    if multiprocessing.current_process().daemon:
        raise RunError(
            "the executor runs its jobs in daemonic processes, which may start none of their own; a pretraining of "
            f"{job.processes} processes needs another executor, such as 'local', or compute.processes = 1"
        )
    context, slot = process_context(modules), int(os.environ.get("SSLKIT_WORKER", "0"))
    members: list[_Member] = []
    with tempfile.TemporaryDirectory(prefix="sslkit-processes-") as folder:
        try:
            for rank in range(job.processes):
                with stops_held():
                    ours, theirs = context.Pipe()
                    arguments = (job, compute, rank, slot, Path(folder, "store"), theirs)
                    process = context.Process(  # type: ignore[attr-defined]
                        target=_take_part, args=arguments, name=f"{job.id}, process {rank}", daemon=True
                    )
                    process.start()
                    members.append(_Member(rank, process, ours))
                theirs.close()
            _attend(members, report)
        finally:
            for member in members:
                member.process.kill()
            for member in members:
                member.process.join()
                member.pipe.close()


def _attend(members: Sequence[_Member], report: Reporter) -> None:
    """Listen until all are done."""
    busy = {member.pipe: member for member in members}
    while busy:
        for pipe in wait(list(busy)):
            member = busy[pipe]  # type: ignore[index]  # only pipes were waited for
            try:
                message = member.pipe.recv()
            except (EOFError, ConnectionError):
                member.process.join(_PATIENCE)
                raise _lost(member, members) from None
            match message:
                case ("progress", values):
                    _pass_on(values, member, report)
                case ("done", _):
                    del busy[member.pipe]
                    member.process.join(_PATIENCE)
                case ("failed", error):
                    raise _cause(error, member, members)


def _pass_on(values: Mapping[str, Any], member: _Member, report: Reporter) -> None:
    try:
        report(values)
    except SystemExit:
        if "done" in values:
            _answer(member, _STOP)
            member.process.join()
        raise
    if "done" in values:
        _answer(member, _GO_ON)


def _answer(member: _Member, word: str) -> None:
    with suppress(ConnectionError):  # it has died, which is found when it is listened to
        member.pipe.send(word)


def _cause(error: SslkitError | str, member: _Member, members: Sequence[_Member]) -> Exception:
    """Return what to raise for an error of one of them: that another has died, if that is what it has felt."""
    if isinstance(error, TrainingDivergedError):  # all have seen it
        return error
    wait([other.process.sentinel for other in members], timeout=_ECHO)
    dead = next((other for other in members if other.process.exitcode not in (None, 0)), None)
    if dead is not None:
        return _lost(dead, members)
    where = f"process {member.rank} of {len(members)}"
    return type(error)(f"{where}: {error}") if isinstance(error, SslkitError) else RunError(f"{where} failed:\n{error}")


def _lost(member: _Member, members: Sequence[_Member]) -> RunError:
    return RunError(
        f"process {member.rank} of {len(members)} {member.how_it_died()}, and the others were ended; the same command "
        "goes on from the last checkpoint"
    )


def _take_part(job: Job, compute: Compute, rank: int, slot: int, path: Path, pipe: Connection) -> None:
    follow_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process of the job decides
    size = job.processes
    os.environ["SSLKIT_WORKER"] = str(slot * size + rank)
    os.environ.update(ONE_THREAD)

    def report(values: Mapping[str, Any]) -> None:
        if rank:
            return
        pipe.send(("progress", dict(values)))
        if "done" in values and pipe.recv() == _STOP:
            raise SystemExit(128 + signal.SIGTERM)

    compute.prepare_process()
    store = distributed.FileStore(str(path), size)  # type: ignore[attr-defined]  # torch does not list it
    with joined(store, rank, size, compute, one_machine=True):
        try:
            with in_one_thread():
                job.execute(report)
            pipe.send(("done", None))
        except Exception as error:  # whatever it is, it ends the pretraining, told by the process of the job
            pipe.send(("failed", _portable(error)))
            pipe.poll(None)  # the connection stays, so that nobody takes this for the death of a process


def _portable(error: Exception) -> SslkitError | str:
    """Return an error as it can be sent: one of the toolkit's own, or in words."""
    if not isinstance(error, SslkitError):
        return "".join(traceback.format_exception(error))
    try:
        return error if type(pickle.loads(pickle.dumps(error))) is type(error) else RunError(str(error))
    except Exception:  # an error of a plugin, which may refuse to be pickled in any way
        return RunError(str(error))
