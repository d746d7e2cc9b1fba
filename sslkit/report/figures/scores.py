"""The score against the share of the labels: what the report is read for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sslkit.report.comparison import select, spread
from sslkit.report.figures.canvas import Drawing, draw_svg, inline, standalone
from sslkit.report.figures.palette import line_styles
from sslkit.report.tables import Run
from sslkit.report.text import count, metric_name, number, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DODGE = 1.025
"""Factor between neighbouring lines on the log axis, so that the folds' points do not hide each other."""

_MOST_BANDS = 3
"""With more lines than this, bands would bury each other: the bars at each share stay."""

_LEAST_SPAN = 0.1
"""Of the score axis, so that noise does not look like a landslide."""


def draw_scores(run: Run) -> Drawing:
    """Draw the primary metric against the share of the labels: mean, range and the single cells, one line an arm."""
    name = f"{run.metric.replace('_', '-')}-by-labels"
    description = _describe(run)
    wide = draw_svg(lambda figure: _draw(run, figure, wide=True), name, 900, 440)
    narrow = draw_svg(lambda figure: _draw(run, figure, wide=False), f"{name}-narrow", 360, 340)
    return Drawing(
        name,
        f"{metric_name(run.metric)} against the share of the labels",
        description,
        inline(wide, name, description),
        standalone(wide, description),
        inline(narrow, f"{name}-narrow", description),
    )


def _describe(run: Run) -> str:
    lines = [
        f"{line.label}: "
        + ", ".join(f"{number(spread(run, line, f).mean)} at {share(f)}" for f in run.fractions if select(run, line, f))
        for line in run.lines
    ]
    return f"Line chart of mean {metric_name(run.metric)} against the share of the labels. {'; '.join(lines)}."


def _draw(run: Run, figure: Figure, *, wide: bool) -> None:
    axes = figure.add_subplot()
    styles = line_styles(run.lines)
    for index, line in enumerate(run.lines):
        style, dodge = styles[line], _DODGE ** (index - (len(run.lines) - 1) / 2)
        spreads = [spread(run, line, fraction) for fraction in run.fractions]
        x = [fraction * dodge for fraction in run.fractions]
        low, mean, high = ([_or_nan(getattr(s, part)) for s in spreads] for part in ("low", "mean", "high"))
        if len(x) > 1 and len(run.lines) <= _MOST_BANDS:
            axes.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
        axes.vlines(x, low, high, color=style.colour, alpha=0.35, linewidth=1)
        points = [(f * dodge, c.scores[run.metric]) for f in run.fractions for c in select(run, line, f)]
        defined = [(at, score) for at, score in points if score is not None]
        at, height = [point[0] for point in defined], [point[1] for point in defined]
        axes.scatter(at, height, s=14, color=style.colour, alpha=0.5, linewidths=0)
        axes.plot(
            x,
            mean,
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker,
            markersize=6,
            linewidth=2,
            label=line.label,
        )
    _finish(run, axes)
    columns = min(len(run.lines), 4 if wide else 2)
    figure.legend(loc="outside upper left", ncols=columns, handlelength=2.6, columnspacing=1.6)


def _finish(run: Run, axes: Axes) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    fractions = run.fractions
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator(fractions))
    axes.set_xticks(fractions, [f"{share(fraction)}\n{_labels(run, fraction)}" for fraction in fractions])
    margin = 1.15 if len(fractions) > 1 else 1.5
    axes.set_xlim(fractions[0] / margin, fractions[-1] * margin)
    axes.set_xlabel("share of the labels, and labelled images")
    axes.set_ylabel(metric_name(run.metric))
    low, high = axes.get_ylim()
    lacking = max(0.0, _LEAST_SPAN - (high - low)) / 2
    axes.set_ylim(low - lacking, high + lacking)


def _labels(run: Run, fraction: float) -> str:
    rows = (run.summary(line, fraction) for line in run.lines)
    return next((count(row.labels) for row in rows if row is not None and row.labels is not None), "")


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
