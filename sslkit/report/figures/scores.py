"""The score against the share of the labels: what the report is read for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslkit.report.comparison import mean_interval, select, spread
from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing
from sslkit.report.figures.palette import MUTED, LineStyle, line_styles
from sslkit.report.figures.shares import finish_shares
from sslkit.report.reference import Reference, reference_for
from sslkit.report.tables import Line, Run
from sslkit.report.text import count, metric_name, number, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DODGE = 1.025
"""Factor between neighbouring lines on the log axis, so that the folds' points do not hide each other."""

_MOST_BANDS = 3
"""With more lines than this, bands would bury each other: bars at each share stay."""

_LEAST_SPAN = 0.1
"""Of the score axis, so that noise does not look like a landslide."""


def draw_scores(run: Run) -> Drawing:
    """Draw the primary metric against the share of the labels: means, their intervals and the cells, a line an arm.

    What was published on the same images is a thin line behind them.
    """
    return make_drawing(
        f"{run.metric.replace('_', '-')}-by-labels",
        f"{metric_name(run.metric)} against the share of the labels",
        _describe(run),
        Sketch(lambda figure: _draw(run, figure, wide=True), 900, 440),
        narrow=Sketch(lambda figure: _draw(run, figure, wide=False), 360, 340),
    )


def _describe(run: Run) -> str:
    lines = [
        f"{line.label}: "
        + ", ".join(f"{number(spread(run, line, f).mean)} at {share(f)}" for f in run.fractions if select(run, line, f))
        for line in run.lines
    ]
    if reference := reference_for(run):
        means = (f"{number(published.mean)} at {share(f)}" for f, published in reference.spreads.items())
        lines.append(f"{reference.label}: {', '.join(means)}")
    return f"Line chart of mean {metric_name(run.metric)} against the share of the labels. {'; '.join(lines)}."


def _draw(run: Run, figure: Figure, *, wide: bool) -> None:
    axes = figure.add_subplot()
    if reference := reference_for(run):
        _draw_reference(run, axes, reference)
    styles = line_styles(run.lines)
    for index, line in enumerate(run.lines):
        _draw_line(run, axes, line, styles[line], _DODGE ** (index - (len(run.lines) - 1) / 2))
    labels = [
        next((count(row.labels) for row in run.summaries if row.fraction == f and row.labels is not None), "")
        for f in run.fractions
    ]
    finish_shares(axes, run.fractions, labels)
    axes.set_ylabel(metric_name(run.metric))
    low, high = axes.get_ylim()
    lacking = max(0.0, _LEAST_SPAN - (high - low)) / 2
    axes.set_ylim(low - lacking, high + lacking)
    columns = min(len(run.lines), 5 if wide else 2)
    figure.legend(loc="outside upper left", ncols=columns, handlelength=2.6, columnspacing=1.6)


def _draw_line(run: Run, axes: Axes, line: Line, style: LineStyle, dodge: float) -> None:
    fractions = [fraction for fraction in run.fractions if select(run, line, fraction)]
    x = [fraction * dodge for fraction in fractions]
    means = [_or_nan(spread(run, line, fraction).mean) for fraction in fractions]
    ends = [mean_interval(run, line, fraction, run.metric) or (math.nan, math.nan) for fraction in fractions]
    low, high = [end[0] for end in ends], [end[1] for end in ends]
    if len(x) > 1 and len(run.lines) <= _MOST_BANDS:
        axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    axes.vlines(x, low, high, color=style.colour, alpha=0.45, linewidth=1.2)
    points = [(f * dodge, cell.scores[run.metric]) for f in fractions for cell in select(run, line, f)]
    at, height = _defined(points)
    axes.scatter(at, height, s=14, color=style.colour, alpha=0.5, linewidths=0)
    axes.plot(
        x,
        means,
        color=style.colour,
        linestyle=style.dash,
        marker=style.marker,
        markersize=6,
        linewidth=2,
        label=line.label,
    )


def _draw_reference(run: Run, axes: Axes, reference: Reference) -> None:
    """Draw published means as a thin dotted line that says itself what it is."""
    means = {f: published.mean for f, published in reference.spreads.items() if published.mean is not None}
    means = {f: mean for f, mean in means.items() if run.fractions[0] <= f <= run.fractions[-1]}
    if not means:
        return
    axes.plot(list(means), list(means.values()), color=MUTED, linewidth=1, linestyle=(0, (1, 2)), marker=".")
    ours = {f: [s for ln in run.lines if (s := spread(run, ln, f).mean) is not None] for f in means}
    # Where it lies farthest from the run's own lines, and not at the edges, its name has the most room.
    gaps = {f: min(abs(s - means[f]) for s in ours[f]) for f in list(means)[1:-1] if ours[f]}
    at = max(gaps, key=lambda f: gaps[f], default=list(means)[len(means) // 2])
    below = all(s >= means[at] for s in ours[at])
    axes.annotate(
        reference.label,
        (at, means[at]),
        xytext=(10, -4 if below else 4),
        textcoords="offset points",
        va="top" if below else "bottom",
        color=MUTED,
        fontsize=10,
    )


def _defined(points: Sequence[tuple[float, float | None]]) -> tuple[list[float], list[float]]:
    defined = [(at, score) for at, score in points if score is not None]
    return [point[0] for point in defined], [point[1] for point in defined]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
