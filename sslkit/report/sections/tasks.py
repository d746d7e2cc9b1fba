"""Pretext tasks side by side: what each came to with few labels, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from sslkit.report.comparison import SCRATCH, spread
from sslkit.report.figures.differences import estimate
from sslkit.report.logs import read_pretrainings
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.table import column, head, line_name, table
from sslkit.report.tables import Line, Run
from sslkit.report.text import UNDEFINED, count, duration, metric_name, number, share, signed

NUM_SHARES = 2
"""Shares of the labels that tasks are compared at: the smallest ones, where pretraining matters."""


def compared_lines(run: Run) -> list[Line]:
    """Return the lines of a tournament: those of the first arm that two or more pretext tasks have; else none."""
    for arm in dict.fromkeys(line.arm for line in run.lines if line.pretext):
        lines = [line for line in run.lines if line.pretext and line.arm == arm]
        if len(lines) > 1:
            return lines
    return []


def tasks_table(run: Run, lines: Sequence[Line], fractions: Sequence[float]) -> Markup:
    """Return score, difference and cost of each task, and the score of training from scratch below them."""
    of_qwk = "" if run.metric == "qwk" else " (QWK)"
    names = [name for f in fractions for name in (share(f), f"difference{of_qwk}")]
    titles = head(column("task", "text"), *map(column, (*names, "views", "time", "memory")))
    rows = [_row(run, line, fractions) for line in [*lines, *([SCRATCH] if SCRATCH in run.lines else [])]]
    note = (
        f"Mean {metric_name(run.metric)} over folds, by share of the labels; the mean paired difference to training "
        "from scratch with its 95 % interval, of each task by itself: of twenty tasks without effect, one has an "
        "interval that leaves out zero, which the figure shows in colour; a filled mark has a verdict by Holm's p. "
        "Views are what a task makes of the images in one pretraining; time and memory are the mean of a pretraining "
        "and the most that one has taken."
    )
    shown = table("Pretext tasks side by side", titles, element("tbody", *rows))
    return join([shown, element("p", note, class_="note")])


def _row(run: Run, line: Line, fractions: Sequence[float]) -> Markup:
    scores = [value for fraction in fractions for value in _scores(run, line, fraction)]
    values: list[object] = [*scores, *_cost(run, line)]
    name = line_name(run, line, line.pretext or None)
    return element("tr", element("th", name, scope="row"), *(element("td", value) for value in values))


def _scores(run: Run, line: Line, fraction: float) -> list[object]:
    mean, summary = number(spread(run, line, fraction).mean), run.summary(line, fraction)
    if line == SCRATCH or summary is None:
        return [mean, ""]
    difference, low, high, _ = estimate(run, line, fraction)
    interval = NOTHING if low is None or high is None else f"{signed(low)} to {signed(high)}"
    return [
        mean,
        join([signed(difference), element("span", interval, class_="sub")], " ") if interval else signed(difference),
    ]


def _cost(run: Run, line: Line) -> list[str]:
    """Return views, time and memory of a task's pretrainings."""
    if not line.pretext:
        return ["", "", ""]
    logs = list(read_pretrainings(run, line.pretext).values())
    views, seconds, memory = (
        [[row[key] for row in log if key in row] for log in logs] for key in ("views", "seconds", "peak_memory")
    )
    return [
        count(round(fmean(map(sum, views)))) if any(views) else UNDEFINED,
        duration(fmean(map(sum, seconds))) if any(seconds) else UNDEFINED,
        f"{max(max(log) for log in memory if log) / 2**30:.2f} GiB" if any(memory) else UNDEFINED,
    ]
