"""One job on the cluster, as the process in control sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslkit import Job
from sslkit_slurm.clusters import Handle

_LINES = 20
"""Lines of a log that are shown of a process that died."""


@dataclass(eq=False)
class Entry:
    """A job on the cluster.

    Attributes:
        job: the job.
        handle: what submitit calls it.
        told: the file that it tells its progress in.
        position: how far that is read.
        begun: whether it was seen to run.
        ended: when it was first seen to have ended without a result; None while it has not.
    """

    job: Job
    handle: Handle
    told: Path
    position: int = 0
    begun: bool = False
    ended: float | None = None

    @property
    def id(self) -> str:
        """The scheduler's name of it."""
        return str(self.handle.job_id)

    @property
    def array(self) -> str:
        """The array that it belongs to."""
        return self.id.partition("_")[0]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what it has told since it was last asked, line by line, as far as lines are whole.

        What its process had half written when it was killed, before Slurm began it again, is no line and passed over.
        """
        try:
            with self.told.open("rb") as file:
                file.seek(self.position)
                text = file.read()
        except FileNotFoundError:
            return
        for line in text.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return
            self.position += len(line)
            try:
                values = json.loads(line)
            except ValueError:
                continue
            yield values

    @property
    def log(self) -> Path:
        """What its process wrote on standard error."""
        path: Path = self.handle.paths.stderr
        return path

    def log_tail(self) -> str:
        """Return where its log is, and the end of it."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
        except OSError:
            return f"Its log would be {self.log}, and is not there: is the folder on a disk that all nodes see?"
        if not lines:
            return f"Its log, {self.log}, is empty."
        return "\n".join([f"The end of its log, {self.log}:", *(f"  {line}" for line in lines)])

    def remove_files(self, *, logs: bool) -> None:
        """Remove what nobody needs of a job that is over: its logs as well where it did not fail."""
        paths = self.handle.paths
        for path in (paths.submitted_pickle, paths.result_pickle, self.told, *([paths.stdout, self.log] * logs)):
            path.unlink(missing_ok=True)
