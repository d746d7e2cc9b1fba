"""The progress of a run in a terminal: one picture, never larger than the screen, drawn over as things change."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sslkit.cli.display.progress import Progress
from sslkit.cli.display.words import AFTERWARDS, STAGES, UNITS, left, span
from sslkit.cli.terminal import TELL_STOPPING

_FEW_JOBS = 4
"""Lines that jobs get at least beside the scores, where there are as many."""

_NARROW, _WIDEST = 72, 110
"""Columns below which there is no room for a bar, and beyond which a line falls apart."""


class LiveProgress(Progress):
    """The stage under way with the time that is left, the jobs under way, and the scores so far."""

    def __init__(self, console: Console, clock: Callable[[], float] | None = None) -> None:
        super().__init__(console, *([clock] if clock else []))
        self._over = self._stopping = False
        self._live = Live(
            console=console,
            get_renderable=self.picture,
            refresh_per_second=4,
            transient=True,
            vertical_overflow="crop",
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        TELL_STOPPING.append(self._note_stop)  # a line written beneath the picture would break it
        self._live.start()
        return self

    def _note_stop(self) -> None:
        self._stopping = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._close_stage()
        self._stage, self._over = "", True
        self._live.stop()
        TELL_STOPPING.remove(self._note_stop)

    def stage(self, name: str, total: int) -> None:
        """Begin a stage; the one before leaves a line that stays."""
        self._close_stage()
        super().stage(name, total)

    def _close_stage(self) -> None:
        if self._stage:
            took = span(self.clock() - self._began)
            self.console.print(f"{STAGES[self._stage]}: {self._done} {UNITS[self._stage]} in {took}")

    def picture(self) -> RenderableType:
        """Return what is to be seen now, of no more lines than the terminal has."""
        if not self._stage:
            return Text("" if self._over else "Preparing ...")
        width, height = self.console.size
        width = min(max(1, width - 2), _WIDEST)  # an echo of Ctrl-C has room behind the last line
        room = max(1, height - 2)  # the cursor stands in a line of its own
        running = [(job.name, job.done, job.total) for job in list(self._running.values())]
        lines_of_scores = self.scores.num_lines
        if lines_of_scores:
            lines_of_scores = min(lines_of_scores, room - 1 - min(len(running), _FEW_JOBS))
        parts: list[RenderableType] = [self._head(width)]
        if num_jobs := min(len(running), room - 1 - max(0, lines_of_scores)):
            parts.append(_jobs(running, width, num_jobs))
        if lines_of_scores >= 2:
            parts.append(self.scores.table(width, lines_of_scores))
        return Group(*parts)

    def _head(self, width: int) -> Table:
        head = Table.grid(padding=(0, 1))
        head.width = width
        name, count = Text(STAGES[self._stage], "bold"), f"{self._done}/{self._total} {UNITS[self._stage]}"
        narrow = width < _NARROW
        head.add_column(no_wrap=True, overflow="ellipsis", ratio=1 if narrow else None)
        if not narrow:
            head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True, overflow="ellipsis")
        bar = [] if narrow else [_bar(self._done, max(1, self._total))]
        head.add_row(name, *bar, f"{count}, {self._end()}")
        return head

    def _end(self) -> str:
        if self._stopping:
            return "stopping at a safe point"
        if self._total and self._done >= self._total:
            return AFTERWARDS[self._stage]
        return left(self.seconds_left()) or f"{span(self.clock() - self._began)} so far"


def _jobs(running: list[tuple[str, int, int | None]], width: int, num_lines: int) -> Table:
    """Return a line for each job under way, and the count of those that there is no room for."""
    table = Table.grid(padding=(0, 1))
    table.width = width
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(width=max(6, min(30, width // 5)))
    table.add_column(justify="right", no_wrap=True, min_width=9)
    shown = running if len(running) <= num_lines else running[: num_lines - 1]
    for name, done, total in shown:
        table.add_row(f"  {name}", _bar(done if total else 0, total or 1), f"{done}/{total}" if total else "")
    if len(shown) < len(running):
        table.add_row(Text(f"  ... and {len(running) - len(shown)} more jobs under way", "dim"))
    return table


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=done, complete_style="cyan", finished_style="green")
