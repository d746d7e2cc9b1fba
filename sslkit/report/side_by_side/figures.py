"""The figures of a comparison: scores of all runs by share of the labels, and their differences in pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sslkit.report.comparison import mean_interval, select, spread
from sslkit.report.figures import Drawing
from sslkit.report.figures.canvas import Sketch, make_drawing
from sslkit.report.figures.palette import BASELINE, MARKERS, SERIES, LineStyle, line_styles
from sslkit.report.figures.shares import finish_shares
from sslkit.report.side_by_side.named import NamedRun
from sslkit.report.side_by_side.pairs import RunPair
from sslkit.report.tables import Line
from sslkit.report.text import metric_name, number, share, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 12
"""Lines that a figure can tell apart; more are better read in the table."""

_MOST_PAIRS = 6
_MOST_LETTERS = 42
"""Letters that fit the width of a phone."""
_DODGE = 1.03


def styles_of(runs: Sequence[NamedRun]) -> dict[tuple[str, Line], LineStyle]:
    """Return a style for each line of each run: a colour a run, marker and dash by the arm."""
    return {
        (named.name, line): replace(own, colour=SERIES[place % len(SERIES)])
        for place, named in enumerate(runs)
        for line, own in line_styles(named.run.lines).items()
    }


def draw_runs(runs: Sequence[NamedRun], metric: str) -> Drawing | None:
    """Draw the mean metric of every line of every run by share of the labels, with its interval.

    Returns:
        The drawing; None where there are more runs or lines than a figure can tell apart, or none.
    """
    lines = [(named, line) for named in runs for line in named.run.lines]
    if not 0 < len(lines) <= MOST_LINES or len(runs) > len(SERIES):
        return None
    told = [
        f"{named.label(line)}: "
        + ", ".join(
            f"{number(spread(named.run, line, f).mean)} at {share(f)}"
            for f in named.run.fractions
            if select(named.run, line, f)
        )
        for named, line in lines
    ]
    title = f"{metric_name(metric)} against the share of the labels"
    extra = 20 * len(lines)
    return make_drawing(
        f"{metric.replace('_', '-')}-by-labels",
        title,
        f"Mean {title}, of each run and arm. {'; '.join(told)}.",
        Sketch(lambda figure: _draw_runs(figure, runs, lines, metric, columns=2), 900, 400 + extra // 2),
        narrow=Sketch(lambda figure: _draw_runs(figure, runs, lines, metric, columns=1), 360, 300 + extra),
    )


def _draw_runs(
    figure: Figure, runs: Sequence[NamedRun], lines: Sequence[tuple[NamedRun, Line]], metric: str, *, columns: int
) -> None:
    axes, styles = figure.add_subplot(), styles_of(runs)
    for index, (named, line) in enumerate(lines):
        style, dodge = styles[named.name, line], _DODGE ** (index - (len(lines) - 1) / 2)
        fractions = [fraction for fraction in named.run.fractions if select(named.run, line, fraction)]
        x = [fraction * dodge for fraction in fractions]
        ends = [mean_interval(named.run, line, f, metric) or (math.nan, math.nan) for f in fractions]
        means = [spread(named.run, line, f).mean for f in fractions]
        axes.vlines(x, [e[0] for e in ends], [e[1] for e in ends], color=style.colour, alpha=0.45, linewidth=1.2)
        axes.plot(
            x,
            [math.nan if mean is None else mean for mean in means],
            color=style.colour,
            linestyle=style.dash,
            marker=style.marker,
            markersize=6,
            linewidth=2,
            label=_short(named.label(line), columns),
        )
    finish_shares(axes, sorted({f for named in runs for f in named.run.fractions}))
    axes.set_ylabel(metric_name(metric))
    figure.legend(loc="outside upper left", ncols=columns, handlelength=2.6, columnspacing=1.6)


def draw_pairs(pairs: Sequence[RunPair], metric: str) -> Drawing | None:
    """Draw the paired differences between runs with their 95 % intervals by share of the labels.

    Returns:
        The drawing; None where there are more than can stand beside each other, or none.
    """
    if not 0 < len(pairs) <= _MOST_PAIRS:
        return None
    title = f"Paired difference in {metric_name(metric)} between runs"
    told = [
        f"{pair.label}: " + ", ".join(f"{signed(one.delta)} at {share(f)}" for f, one in pair.by_share.items())
        for pair in pairs
    ]
    return make_drawing(
        f"{metric.replace('_', '-')}-between-runs",
        title,
        f"{title}, with its 95 % interval. {'; '.join(told)}.",
        Sketch(lambda figure: _draw_pairs(figure, pairs, metric, columns=2), 900, 300 + 20 * len(pairs)),
        narrow=Sketch(lambda figure: _draw_pairs(figure, pairs, metric, columns=1), 360, 280 + 20 * len(pairs)),
    )


def _draw_pairs(figure: Figure, pairs: Sequence[RunPair], metric: str, *, columns: int) -> None:
    axes = figure.add_subplot()
    axes.axhline(0, color=BASELINE, linewidth=1.4, linestyle=(0, (4, 2)))
    for index, pair in enumerate(pairs):
        colour, marker = SERIES[index], MARKERS[index]
        for fraction, one in pair.by_share.items():
            at = fraction * (2 * _DODGE - 1) ** (index - (len(pairs) - 1) / 2)
            if one.low is not None and one.high is not None:
                axes.vlines(at, one.low, one.high, color=colour, linewidth=2)
            axes.plot([at], [one.delta], marker=marker, color=colour, markersize=7)
        axes.plot([], [], color=colour, marker=marker, label=_short(pair.label, columns))
    finish_shares(axes, sorted({fraction for pair in pairs for fraction in pair.by_share}))
    axes.margins(y=0.1)
    axes.set_ylabel(f"difference in {metric_name(metric)}")
    figure.legend(loc="outside upper left", ncols=columns, columnspacing=1.6)


def _short(label: str, columns: int) -> str:
    """Return a label cut to what a column of a key has room for."""
    most = _MOST_LETTERS * 3 // 2 if columns > 1 else _MOST_LETTERS
    return label if len(label) <= most else f"{label[: most - 1]}…"
