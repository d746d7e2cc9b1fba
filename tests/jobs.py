"""Small jobs for executors, importable by worker processes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sslkit import Reporter
from sslkit.errors import TrainingDivergedError


class OneProcess:
    """A job that computes in one process."""

    processes = 1


@dataclass(frozen=True)
class Note:
    """Writes that it began, waits, and writes that it ended."""

    id: str
    log: Path
    after: tuple[str, ...] = ()
    cost: float = 1.0
    seconds: float = 0.0
    processes: int = 1

    def execute(self, report: Reporter) -> None:
        for word in ("begins", "ends"):
            with self.log.open("a") as log:
                log.write(f"{self.id} {word}\n")
            time.sleep(self.seconds if word == "begins" else 0)


@dataclass(frozen=True)
class Fail(OneProcess):
    """Ends in one of the ways in which a job can fail."""

    id: str
    how: str
    after: tuple[str, ...] = ()
    cost: float = 1.0

    def execute(self, report: Reporter) -> None:
        report({"about to": self.how})
        match self.how:
            case "raise":
                raise KeyError("a plugin's own mistake")
            case "diverge":
                raise TrainingDivergedError("the loss is nan at update 3; lower the learning rate")
            case "be killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                sys.exit(3)
            case "vanish":
                os._exit(0)


@dataclass(frozen=True)
class DieOnce(OneProcess):
    """Is killed at its first try, and takes a while at its second."""

    id: str
    log: Path
    mark: Path
    after: tuple[str, ...] = ()
    cost: float = 9.0

    def execute(self, report: Reporter) -> None:
        with self.log.open("a") as log:
            log.write(f"{self.id} begins\n")
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.5)
        with self.log.open("a") as log:
            log.write(f"{self.id} ends\n")


@dataclass(frozen=True)
class Tell(OneProcess):
    """Reports its progress and what its process is like."""

    rows: npt.NDArray[np.int64]
    id: str
    after: tuple[str, ...] = ()
    cost: float = 1.0
    seconds: float = 0.0

    def execute(self, report: Reporter) -> None:
        time.sleep(self.seconds)
        for done in range(1, 4):
            report({"done": done, "total": 3})
        report({"threads": torch.get_num_threads(), "process": os.getpid(), "sum": int(self.rows.sum())})


@dataclass(frozen=True)
class Steps(OneProcess):
    """Tells of each of a few steps, and writes that it began and ended."""

    id: str
    log: Path
    seconds: float = 0.1
    after: tuple[str, ...] = ()
    cost: float = 1.0

    def execute(self, report: Reporter) -> None:
        with self.log.open("a") as log:
            log.write(f"{self.id} begins\n")
        for done in range(1, 6):
            time.sleep(self.seconds)
            report({"done": done, "total": 5})
        with self.log.open("a") as log:
            log.write(f"{self.id} ends\n")


@dataclass(frozen=True)
class Wait(OneProcess):
    """Waits until it is ended."""

    id: str
    after: tuple[str, ...] = ()
    cost: float = 1.0

    def execute(self, report: Reporter) -> None:
        report({"process": os.getpid()})
        for _ in range(600):  # a signal on the way into a long sleep would be heard at its end
            time.sleep(0.1)


@dataclass(frozen=True)
class TakeThreads(OneProcess):
    """Sets the threads of torch, as a careless plugin does, before its result stands."""

    id: str
    folder: Path
    after: tuple[str, ...] = ()
    cost: float = 1.0

    def execute(self, report: Reporter) -> None:
        torch.set_num_threads(3)
        report({"done": 1, "total": 1})
        (self.folder / "result").touch()


@dataclass(frozen=True)
class LoadLibraries(OneProcess):
    """Loads libraries that bring pools of threads of their own."""

    id: str
    after: tuple[str, ...] = ()
    cost: float = 1.0

    def execute(self, report: Reporter) -> None:
        importlib.import_module("sklearn.linear_model").RidgeCV().fit(np.eye(4), np.arange(4))
        report({"done": 1, "total": 1})
