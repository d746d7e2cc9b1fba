"""Where jobs are handed over: a Slurm cluster, or what submitit has in place of one for trying out."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sslkit.errors import ConfigError, PluginError, RunError
from sslkit_slurm import queue
from sslkit_slurm.options import SlurmConfig, minutes, parameters, python
from sslkit_slurm.task import Task


class Refused(RunError):
    """The scheduler did not take jobs."""


_PATIENCE = 10.0
"""Seconds that processes on this machine may take to come to a safe point."""

_TIMEOUTS = 10_000
"""How often a job may be queued again because its time was up: as long as it gets further each time."""

Handle = Any
"""A job as submitit knows it."""


class Cluster(ABC):
    """Takes tasks, says what has become of them, and ends them.

    Args:
        config: what is asked of the scheduler.
        folder: where submitit keeps its files.

    Attributes:
        in_process: whether jobs are carried out in this very process.
        remembers: whether jobs go on where the process in control is killed.
        soon: seconds that is waited for the result of a process that did not end well.
        poll_seconds: between two looks.
    """

    in_process: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    soon: ClassVar[float] = 0.0

    def __init__(self, config: SlurmConfig, folder: Path) -> None:
        try:
            import submitit
        except ImportError as error:
            raise PluginError(
                f"the executor 'slurm' needs submitit, which cannot be imported ({error}); "
                "install it by pip install 'sslkit[slurm]'"
            ) from None
        self.submitit: Any = submitit
        self.config, self.folder = config, folder
        self.poll_seconds = min(config.poll_seconds, 0.1)

    def room(self, taken: int, at_a_time: int) -> int:
        """Return how many more processes may be handed over now, where ``taken`` are on the cluster."""
        return at_a_time - taken

    @abstractmethod
    def submit(self, tasks: Sequence[Task], processes: int, at_a_time: int) -> list[Handle]:
        """Hand over tasks of one size, of which so many may run at a time."""

    @abstractmethod
    def states(self, handles: Collection[Handle]) -> dict[str, tuple[str, str]] | None:
        """Return state and node by id, states as Slurm calls them; None where nobody answers."""

    @abstractmethod
    def cancel(self, handles: Collection[Handle]) -> None:
        """Send SIGTERM to what runs and take away what waits."""

    def how_it_ended(self, job: str, state: str) -> str:
        """Return what is known of a process that ended without a word, as the end of a sentence."""
        return "ended before its result stood"

    def let_run(self, array: str, at_a_time: int) -> None:  # noqa: B027 - where there are no arrays, nothing
        """Let so many tasks of an array run at a time."""

    def _executor(self, name: str, **options: Any) -> Any:
        return getattr(self.submitit, name)(self.folder, **options)


class Slurm(Cluster):
    """A cluster: tasks are handed over as arrays, whatever of them may run, and Slurm keeps to the number at a time."""

    remembers = True
    soon = 5.0

    def __init__(self, config: SlurmConfig, folder: Path) -> None:
        if shutil.which("sbatch") is None:
            raise ConfigError(
                "compute.executor: this machine has no sbatch; start the command on a node of the cluster that submits "
                "jobs, or choose 'local'"
            )
        super().__init__(config, folder)
        self.poll_seconds = config.poll_seconds

    def room(self, taken: int, at_a_time: int) -> int:
        """An array waits for its turn on the cluster: another one is handed over once all of the last are running."""
        return self.config.array_size if taken < at_a_time else 0

    def submit(self, tasks: Sequence[Task], processes: int, at_a_time: int) -> list[Handle]:
        """Hand over one array."""
        executor = self._executor("SlurmExecutor", max_num_timeout=_TIMEOUTS, python=python())
        executor.update_parameters(**parameters(self.config, processes, max(1, at_a_time // processes)))
        said = io.StringIO()  # submitit prints what sbatch says of an error, which the error holds as well
        try:
            with contextlib.redirect_stderr(said), executor.batch():
                return [executor.submit(task) for task in tasks]
        except (self.submitit.core.utils.FailedJobError, self.submitit.core.utils.FailedSubmissionError) as error:
            raise Refused(str(error).strip()) from error

    def states(self, handles: Collection[Handle]) -> dict[str, tuple[str, str]] | None:
        """Ask squeue."""
        return queue.states(handle.job_id for handle in handles)

    def cancel(self, handles: Collection[Handle]) -> None:
        """Call scancel."""
        queue.cancel(handle.job_id for handle in handles)

    def how_it_ended(self, job: str, state: str) -> str:
        """Ask scontrol."""
        return f"{queue.how_it_ended(job)}, and is {state}"

    def let_run(self, array: str, at_a_time: int) -> None:
        """Call scontrol."""
        queue.let_run(array, at_a_time)


class Local(Cluster):
    """This machine, by submitit's local executor: a process a task, without a scheduler."""

    def submit(self, tasks: Sequence[Task], processes: int, at_a_time: int) -> list[Handle]:
        """Start processes."""
        executor = self._executor("LocalExecutor", max_num_timeout=_TIMEOUTS)
        executor.update_parameters(
            timeout_min=minutes(self.config.time),
            signal_delay_s=self.config.signal_seconds,
            gpus_per_node=self.config.gpus * processes,
        )
        return [executor.submit(task) for task in tasks]

    def states(self, handles: Collection[Handle]) -> dict[str, tuple[str, str]] | None:
        """Ask the processes."""
        return {handle.job_id: ("FAILED" if handle.done() else "RUNNING", "") for handle in handles}

    def cancel(self, handles: Collection[Handle]) -> None:
        """Tell the processes to stop, and wait until they have."""
        deadline = time.monotonic() + _PATIENCE
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(handle.job_id), signal.SIGTERM)  # of what started it, which passes the signal on
        while running := [handle for handle in handles if not handle.done()]:
            if time.monotonic() > deadline:
                for handle in running:
                    handle.cancel()  # and kills it a second later
            time.sleep(0.05)


class Debug(Cluster):
    """This very process, by submitit's debug executor: one task after another, where a debugger can follow."""

    in_process = True

    def room(self, taken: int, at_a_time: int) -> int:
        """One at a time."""
        return 1 - taken

    def submit(self, tasks: Sequence[Task], processes: int, at_a_time: int) -> list[Handle]:
        """Carry out the tasks."""
        executor = self._executor("DebugExecutor")
        handles = [executor.submit(task) for task in tasks]
        for handle in handles:
            if error := handle.exception():  # carries the task out; what a job raises is its result
                raise error
        return handles

    def states(self, handles: Collection[Handle]) -> dict[str, tuple[str, str]] | None:
        """All are done once they were handed over."""
        return {handle.job_id: ("COMPLETED", "") for handle in handles}

    def cancel(self, handles: Collection[Handle]) -> None:
        """There is none to cancel."""


CLUSTERS: dict[str, type[Cluster]] = {"slurm": Slurm, "local": Local, "debug": Debug}
