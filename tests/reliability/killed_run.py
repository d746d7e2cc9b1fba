"""Carries out a run and kills its whole process group at one point: ``killed_run.py CONFIG OUTPUT STAGE COUNT DELAY``.

The stages are ``ingest`` (images decoded), ``update`` (an update of a job), ``job`` (a job finished), ``fit`` (a cell's
files about to be replaced after fitting across folds) and ``report`` (a file of the report about to be written). The
group is killed DELAY seconds after the COUNT-th time, so that the other processes are wherever they happen to be.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sslkit import api
from sslkit.experiment import cross_fitting
from sslkit.experiment.observation import Silent
from sslkit.interfaces import Job
from sslkit.report import folder, html


class Killer(Silent):
    """Counts what happens at one stage, and kills."""

    def __init__(self, stage: str, count: int, delay: float) -> None:
        self.stage_to_kill, self.left, self.delay = stage, count, delay
        self.current = ""

    def happened(self, stage: str) -> None:
        if stage == self.stage_to_kill:
            self.left -= 1
            if self.left == 0:
                time.sleep(self.delay)
                os.killpg(0, signal.SIGKILL)

    def before(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.happened(stage)
            return function(*arguments, **options)

        return counted

    def stage(self, name: str, total: int) -> None:
        self.current = name

    def advanced(self, done: int) -> None:
        if self.current == "ingest":
            self.happened("ingest")

    def job_progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        if "done" in values:
            self.happened("update")

    def job_finished(self, job: Job) -> None:
        self.happened("job")


if __name__ == "__main__":
    config, output, stage, count, delay = sys.argv[1:]
    killer = Killer(stage, int(count), float(delay))
    cross_fitting.seal = killer.before("fit", cross_fitting.seal)
    folder.write_text = killer.before("report", folder.write_text)
    html.write_text = killer.before("report", html.write_text)
    api.execute(Path(config), Path(output), observer=killer)
