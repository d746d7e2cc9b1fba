"""The ``slurm`` executor: the jobs of a run as array jobs on a Slurm cluster, by submitit.

The command stays where it was started, on a login node say: it hands jobs over as they may begin, looks at the queue,
shows their progress, and writes the report at the end. Jobs that are preempted, or whose time is up, are queued again
and go on from their checkpoints. If the command is killed, jobs that run go on to their end; the same command, started
again, takes over what is left.

Each job computes in one thread on a CPU, or on a GPU of its own, wherever it runs: the results are those of every other
executor.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sslkit import Executor, Job, JobObserver, MovableJob, hookimpl
from sslkit.errors import ConfigError
from sslkit.files import make_folder
from sslkit_slurm.campaign import Campaign
from sslkit_slurm.clusters import CLUSTERS
from sslkit_slurm.options import SlurmConfig

_GRACE = 15.0
"""Seconds that is waited for jobs to come to a safe point once the run is being stopped."""

_EARLIER = 90.0
"""Seconds that is waited for jobs of an earlier call, which was killed, to come to a safe point."""


class Slurm(Executor[SlurmConfig]):
    """Runs jobs as array jobs on a Slurm cluster."""

    name = "slurm"
    api_version = 1
    Config = SlurmConfig

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        """Run every job once those it waits for are done, on ``at_a_time`` or else ``workers`` cores or GPUs."""
        if not jobs:
            return
        with _folder_of_call(_folder_of_run(self.config.folder, jobs)) as folder:
            cluster = CLUSTERS[self.config.cluster](self.config, folder)
            campaign = Campaign(cluster, jobs, self.config.at_a_time or workers, observer)
            campaign.cancel_earlier(_EARLIER)
            try:
                campaign.work()
            finally:
                campaign.stop(_GRACE)


def _folder_of_run(asked: Path | None, jobs: Sequence[Job]) -> Path:
    """Return the folder for a run's files of the scheduler, in the run directory or in the folder asked for.

    Raises:
        ConfigError: if none is asked for, and the jobs do not say where the run directory is.
    """
    run = next((job.run for job in jobs if isinstance(job, MovableJob)), None)
    if run is None:
        if asked is None:
            raise ConfigError("executor.folder: jobs of no run need a folder, on a disk that all nodes see")
        return asked
    if asked is None:
        return run / "slurm"
    return asked / f"{run.name}-{hashlib.sha256(os.fsencode(run)).hexdigest()[:8]}"


@contextmanager
def _folder_of_call(base: Path) -> Iterator[Path]:
    """Make a folder of its own for the files of this call, and take it away if nothing is left that tells of a failure.

    Job numbers may come again, on another cluster or another machine; files of two calls must not meet.
    """
    folder = base / datetime.now(UTC).strftime(f"%Y%m%dT%H%M%S-{os.getpid()}")
    make_folder(folder)
    try:
        yield folder
    finally:
        if all(path.name.startswith(".") or path.suffix == ".sh" for path in folder.iterdir()):
            shutil.rmtree(folder)
            with suppress(OSError):  # of other calls, something is left there
                base.rmdir()


@hookimpl
def sslkit_executors() -> Iterable[type[Executor[Any]]]:
    """Announce the executor."""
    return [Slurm]
