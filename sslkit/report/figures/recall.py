"""Recall of each grade, arm beside arm: which grades are found, and which are not."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from sslkit.report.comparison import select
from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing
from sslkit.report.figures.palette import line_styles
from sslkit.report.tables import Line, Run
from sslkit.report.text import number, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 6
"""Lines that a grade has room for; with more, the table says it alone."""

_MOST_GRADES = 12
_SPREAD = 0.7
"""Of the room of a grade, what its lines fill."""


def draw_recall(run: Run) -> Drawing | None:
    """Draw every line's recall of each grade at the smallest and the largest share: means over folds, and cells.

    Returns:
        The drawing; None where there are too many lines or grades for one, or no recall.
    """
    fractions = list(dict.fromkeys(run.fractions[:1] + run.fractions[-1:]))
    if not 0 < len(run.lines) <= MOST_LINES or len(run.class_names) > _MOST_GRADES:
        return None
    if not any(_recalls(run, line, f, k) for line in run.lines for f in fractions for k in range(len(run.class_names))):
        return None
    height = (12 * len(run.lines) + 22) * len(run.class_names) + 100
    return make_drawing(
        "recall-by-grade",
        "Recall of each grade",
        _describe(run, fractions),
        Sketch(lambda figure: _draw(run, figure, fractions, stacked=False), 900, height),
        narrow=Sketch(lambda figure: _draw(run, figure, fractions, stacked=True), 360, height * len(fractions)),
    )


def _describe(run: Run, fractions: Sequence[float]) -> str:
    told = [
        f"{line.label} at {share(fraction)}: "
        + ", ".join(
            f"{name} {number(fmean(cells)) if (cells := _recalls(run, line, fraction, k)) else 'undefined'}"
            for k, name in enumerate(run.class_names)
        )
        for fraction in fractions
        for line in run.lines
    ]
    return f"Mean recall of each grade over folds. {'; '.join(told)}."


def _recalls(run: Run, line: Line, fraction: float, grade: int) -> list[float]:
    """Return the recall of a grade in each fold that has one, its repetitions averaged."""
    by_fold: dict[int, list[float]] = {}
    for cell in select(run, line, fraction):
        recall = cell.scores.get(f"recall_{grade}")
        if recall is not None:
            by_fold.setdefault(cell.fold, []).append(recall)
    return [fmean(recalls) for recalls in by_fold.values()]


def _draw(run: Run, figure: Figure, fractions: Sequence[float], *, stacked: bool) -> None:
    rows, columns = (len(fractions), 1) if stacked else (1, len(fractions))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes, fraction in zip(panels, fractions, strict=True):
        _panel(run, axes, fraction)
    for axes in panels[-1:] if stacked else panels:
        axes.set_xlabel("recall")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper left",
        ncols=min(len(run.lines), 2 if stacked else 4),
        columnspacing=1.6,
    )


def _panel(run: Run, axes: Axes, fraction: float) -> None:
    names, styles = run.class_names, line_styles(run.lines)
    step = _SPREAD / len(run.lines)
    for index, line in enumerate(run.lines):
        style, dodge = styles[line], step * (index - (len(run.lines) - 1) / 2)
        found = {k: recalls for k in range(len(names)) if (recalls := _recalls(run, line, fraction, k))}
        for k, recalls in found.items():
            axes.hlines(k + dodge, min(recalls), max(recalls), color=style.colour, alpha=0.35, linewidth=1.2)
            axes.scatter(recalls, [k + dodge] * len(recalls), s=12, color=style.colour, alpha=0.5, linewidths=0)
        axes.plot(
            [fmean(recalls) for recalls in found.values()],
            [k + dodge for k in found],
            linestyle="none",
            color=style.colour,
            marker=style.marker,
            markersize=7,
            label=line.label,
        )
    short = [name if len(name) <= 16 else f"{name[:15]}…" for name in names]
    axes.set_yticks(range(len(names)), short)
    axes.set_title(f"{share(fraction)} of the labels", fontsize=11)
    axes.grid(axis="x")
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.5, -0.5))
    for between in range(1, len(names)):
        axes.axhline(between - 0.5, color=axes.xaxis.get_gridlines()[0].get_color(), linewidth=0.8)
