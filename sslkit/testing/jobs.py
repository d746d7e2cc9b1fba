"""Small jobs to try executors on, which any worker process can import.

Each leaves a line in one file, the log, when it begins and when it ends: lines that are short enough are whole and in
their order, whichever processes write them.
"""

from __future__ import annotations

import os
import platform
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from sslkit.interfaces import Reporter


@dataclass(frozen=True)
class Note:
    """Does nothing for a while.

    Attributes:
        id: its name.
        log: the file that says what has become of it.
        after: ids of the jobs that come before it.
        cost: how long it takes beside others.
        seconds: how long it takes.
        processes: how many it asks for.
    """

    id: str
    log: Path
    after: tuple[str, ...] = ()
    cost: float = 1.0
    seconds: float = 0.0
    processes: int = 1

    def execute(self, report: Reporter) -> None:
        """Begin, do what there is to do, and end."""
        self.write("begins")
        self.work(report)
        self.write("ends")

    def work(self, report: Reporter) -> None:
        """Take a while."""
        time.sleep(self.seconds)

    def write(self, word: str) -> None:
        """Add a line to the log."""
        with self.log.open("a") as log:
            log.write(f"{self.id} {word} {os.getpid()} {platform.node()}\n")


@dataclass(frozen=True)
class Tell(Note):
    """Tells of its progress, step by step."""

    steps: int = 3

    def work(self, report: Reporter) -> None:
        """Take a while at each step, and tell of it."""
        for done in range(1, self.steps + 1):
            time.sleep(self.seconds)
            report({"done": done, "total": self.steps})
        report({"epoch": 1, "metrics": {"loss": 0.5}})


@dataclass(frozen=True)
class Fail(Note):
    """Raises what a plugin's mistake raises."""

    message: str = "the stripes of this zebra are missing"

    def work(self, report: Reporter) -> None:
        """Raise."""
        raise LookupError(self.message)


@dataclass(frozen=True)
class Die(Note):
    """Is killed, as the system kills a process for want of memory, until it has been tried a number of times.

    Attributes:
        times: how often it is killed.
    """

    times: int = 1

    def work(self, report: Reporter) -> None:
        """Kill this process, or be done."""
        if self.log.read_text().count(f"{self.id} begins") <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)


DONE_BEFORE = "done-before"
"""A job that others wait for, and that is in no list."""


def ordinary_jobs(log: Path) -> list[Note]:
    """Return jobs of which one fails, those that wait for others before those others."""
    return [
        *(Note(f"free-{number}", log, seconds=0.4) for number in range(5)),
        Note("last", log, ("first", "second")),
        Note("second", log, ("first",)),
        Note("needs-needy", log, ("needy",)),
        Note("needy", log, ("bad",)),
        Note("first", log, seconds=0.1),
        Fail("bad", log),
        Tell("talker", log),
        Note("resumed", log, (DONE_BEFORE,)),
    ]


def long_jobs(log: Path) -> list[Note]:
    """Return jobs that are to be stopped on their way."""
    long = [Tell(name, log, seconds=0.05, steps=60) for name in ("long", "long-too")]
    return [*long, Note("after-long", log, ("long",))]


def dying_jobs(log: Path) -> list[Note]:
    """Return jobs of which two are killed, one of them whenever it is tried."""
    return [
        Note("beside", log, seconds=0.3),
        Die("once", log),
        Die("always", log, times=99),
        Note("needs-once", log, ("once",)),
        Note("needs-always", log, ("always",)),
    ]
