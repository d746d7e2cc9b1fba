"""Pretext tasks side by side: what each came to with few labels, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from sslkit.report.comparison import SCRATCH, paired_difference, spread
from sslkit.report.logs import read_pretrainings
from sslkit.report.markup import Markup, element, join
from sslkit.report.sections.scores import line_name, scroll
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
    columns = [element("th", name, scope="col") for name in (*names, "views", "time", "memory")]
    head = element("thead", element("tr", element("th", "task", scope="col", class_="text"), *columns))
    rows = [_row(run, line, fractions) for line in [*lines, *([SCRATCH] if SCRATCH in run.lines else [])]]
    note = (
        f"Mean {metric_name(run.metric)} over folds, by share of the labels; the mean paired difference to training "
        "from scratch with its 95 % interval, of each task by itself: of twenty tasks without effect, one has an "
        "interval that leaves out zero, which the figure shows in colour. Views are what a task makes of the images in "
        "one pretraining; time and memory are the mean of a pretraining and the most that one has taken."
    )
    table = element("table", head, element("tbody", *rows))
    return join([scroll(table, label="Pretext tasks side by side"), element("p", note, class_="note")])


def _row(run: Run, line: Line, fractions: Sequence[float]) -> Markup:
    values = [value for fraction in fractions for value in _scores(run, line, fraction)] + _cost(run, line)
    name = line_name(run, line, line.pretext or None)
    return element("tr", element("th", name, scope="row"), *(element("td", value) for value in values))


def _scores(run: Run, line: Line, fraction: float) -> list[str]:
    mean, summary = number(spread(run, line, fraction).mean), run.summary(line, fraction)
    if line == SCRATCH or summary is None:
        return [mean, ""]
    difference = signed(paired_difference(run, line, fraction).mean)
    low, high = (summary.scores.get(f"delta_{end}") for end in ("low", "high"))
    interval = "" if low is None or high is None else f" [{signed(low)}, {signed(high)}]"
    return [mean, f"{difference}{interval}"]


def _cost(run: Run, line: Line) -> list[str]:
    """Return views, time and memory of a task's pretrainings."""
    if not line.pretext:
        return ["", "", ""]
    logs = list(read_pretrainings(run, line.pretext).values())
    if not logs:
        return [UNDEFINED] * 3
    views = fmean(sum(row.get("views", 0.0) for row in log) for log in logs)
    seconds = fmean(sum(row.get("seconds", 0.0) for row in log) for log in logs)
    memory = max(row.get("peak_memory", 0.0) for log in logs for row in log)
    return [count(round(views)), duration(seconds), f"{memory / 2**30:.2f} GiB"]
