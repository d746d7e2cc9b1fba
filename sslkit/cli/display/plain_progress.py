"""The progress of a run in a log: plain lines, few of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sslkit.cli.display.progress import Progress
from sslkit.cli.display.words import STAGES, UNITS, left

if TYPE_CHECKING:
    from rich.console import Console

    from sslkit.interfaces import Job

_AT_LEAST, _AT_MOST = 5.0, 60.0
"""Seconds between two lines: at least so many, whatever happens; and after so many whatever happened."""


class PlainProgress(Progress):
    """A line as a stage begins, then one at each tenth of it and each minute, and what goes wrong at once."""

    def __init__(self, console: Console, clock: Callable[[], float] | None = None) -> None:
        super().__init__(console, *([clock] if clock else []))
        self._last_line, self._tenths = 0.0, 0

    def stage(self, name: str, total: int) -> None:
        """Say what begins."""
        super().stage(name, total)
        self._tenths = 0
        done = " to do; all others are done" if name == "jobs" and not total else ""
        self._say(f"{STAGES[name]}: {total} {UNITS[name]}{done}")

    def advanced(self, done: int) -> None:
        """Tell of a tenth that is done."""
        super().advanced(done)
        before, self._tenths = self._tenths, 10 * done // max(1, self._total)
        if done < self._total and self._due(self._tenths > before):
            self._tell()

    def job_progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        """Tell of a minute that has passed."""
        super().job_progressed(job, values)
        if self._due(False):
            self._tell()

    def _due(self, reached: bool) -> bool:
        passed = self.clock() - self._last_line
        return passed >= _AT_MOST or (reached and passed >= _AT_LEAST)

    def _tell(self) -> None:
        share = f"{100 * self._done // max(1, self._total)} %"
        time_left = left(self.seconds_left())
        scores = self.scores.sentence() if self._stage == "jobs" else ""
        told = (f"{UNITS[self._stage]} {self._done}/{self._total}", share, time_left, scores)
        self._say(", ".join(filter(None, told)))

    def _say(self, text: str) -> None:
        self._last_line = self.clock()
        self.console.print(text, soft_wrap=True)
