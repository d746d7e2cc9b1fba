"""What ``sslkit predict`` shows while it grades: how far it is, what could not be read, and a table as it comes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click
import rich.progress

from sslkit.cli.display import make_console, redraws, show_grades
from sslkit.cli.terminal import say

if TYPE_CHECKING:
    from sslkit.experiment.graded import GradedImage

_FEW = 10
"""Images that are graded before a bar could be read."""

_BLOCK = 100
"""Rows of a table; the next has its own head, so that no more than these are held at a time."""

_SECONDS_BETWEEN_LINES = 15.0


class GradingProgress:
    """Shows on standard error how far the grading is: a bar in a terminal, elsewhere a plain line now and then.

    Args:
        total: how many images there are.

    Attributes:
        done: how many have been answered.
        unread: how many of them could not be read.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done, self.unread = total, 0, 0
        console = make_console(stderr=True)
        self._shows_bar = redraws(console) and total > _FEW
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=30),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[rate]}", markup=False),
            rich.progress.TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,  # results go where they are sent
            disable=not self._shows_bar,
        )
        self._task = self._bar.add_task("Grading", total=total, rate="")
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begun

    def follow(self, answers: Iterable[GradedImage]) -> Iterator[GradedImage]:
        """Pass answers on, counting them; one that could not be read is reported at once."""
        for answer in answers:
            self.done += 1
            if answer.error is not None:
                self.unread += 1
                say(f"Error: {answer.image} cannot be read: {answer.error}", err=True, one_line=True)
            rate = f"{self.done / max(self.seconds, 1e-3):.1f} images/s"
            self._bar.update(self._task, completed=self.done, rate=rate)
            if not self._shows_bar and time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
                self._said = time.monotonic()
                say(f"Graded {self.done} of {self.total} images ({rate})", err=True)
            yield answer

    def show(self, answers: Iterator[GradedImage]) -> None:
        """Print tables of answers as they come; the bar stands aside while one is printed."""
        while block := list(islice(answers, _BLOCK)):
            self._bar.stop()
            show_grades(block)
            if self.done < self.total:
                self._bar.start()


def print_json(answers: Iterable[GradedImage]) -> Iterator[GradedImage]:
    """Print answers as one JSON array on standard output as they come, and pass them on."""
    from sslkit.experiment.graded_files import json_lines

    passed: list[GradedImage] = []

    def kept() -> Iterator[GradedImage]:
        for answer in answers:
            passed.append(answer)
            yield answer

    for json_part in json_lines(kept()):
        click.echo(json_part, nl=False)
        yield from passed
        passed.clear()
