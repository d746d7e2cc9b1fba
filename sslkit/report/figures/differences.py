"""Paired differences to training from scratch: of each pretext task, one below another, or by share of the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslkit.report.comparison import SCRATCH, paired_difference
from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing
from sslkit.report.figures.palette import BASELINE, GROUND, SERIES, line_styles
from sslkit.report.figures.shares import finish_shares
from sslkit.report.tables import Line, Run
from sslkit.report.text import share, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRIC = "qwk"
"""What differences, their intervals and their verdicts are of, whatever the primary metric is."""

TITLE = "Difference in QWK to training from scratch"

_ROW = 24
"""Height of a task, in pixels."""

_DODGE = 1.06
"""Factor between neighbouring lines on the log axis: their intervals stand beside each other."""


def draw_differences(run: Run, lines: Sequence[Line], fractions: Sequence[float]) -> Drawing | None:
    """Draw the mean paired difference in QWK and its 95 % interval of each line, one panel a share of the labels.

    Returns:
        The drawing; None where there is nothing to compare with.
    """
    if SCRATCH not in run.lines or not lines:
        return None
    height = _ROW * len(lines) + 90
    return make_drawing(
        "qwk-differences",
        TITLE,
        _describe(run, lines, fractions),
        Sketch(lambda figure: _draw_panels(run, figure, lines, fractions, stacked=False), 900, height),
        narrow=Sketch(
            lambda figure: _draw_panels(run, figure, lines, fractions, stacked=True), 360, len(fractions) * height
        ),
    )


def draw_differences_by_share(run: Run) -> Drawing | None:
    """Draw the same for a run of a few lines: differences and intervals against the share of the labels.

    Returns:
        The drawing; None where there is nothing to compare, or with.
    """
    lines = [line for line in run.lines if line != SCRATCH]
    if SCRATCH not in run.lines or not lines:
        return None
    return make_drawing(
        "qwk-differences",
        TITLE,
        _describe(run, lines, run.fractions),
        Sketch(lambda figure: _draw_shares(run, figure, lines, wide=True), 900, 320),
        narrow=Sketch(lambda figure: _draw_shares(run, figure, lines, wide=False), 360, 300),
    )


def estimate(run: Run, line: Line, fraction: float) -> tuple[float | None, float | None, float | None, str]:
    """Return a line's mean paired difference in QWK, the ends of its 95 % interval, and its verdict or ``""``."""
    summary, mean = run.summary(line, fraction), paired_difference(run, line, fraction, metric=METRIC).mean
    if summary is None:
        return mean, None, None, ""
    return mean, summary.scores.get("delta_low"), summary.scores.get("delta_high"), summary.verdict


def is_shown(verdict: str) -> bool:
    """Return whether a verdict claims a difference."""
    return verdict in ("benefit", "harm")


def _describe(run: Run, lines: Sequence[Line], fractions: Sequence[float]) -> str:
    def told(line: Line, fraction: float) -> str:
        mean, low, high, verdict = estimate(run, line, fraction)
        interval = "" if low is None or high is None else f" ({signed(low)} to {signed(high)})"
        shown = f", {verdict}" if is_shown(verdict) else ""
        return f"{signed(mean)}{interval} at {share(fraction)}{shown}"

    parts = (f"{line.label}: {', '.join(told(line, fraction) for fraction in fractions)}" for line in lines)
    return f"{TITLE}, with its 95 % interval. {'; '.join(parts)}."


def _draw_shares(run: Run, figure: Figure, lines: Sequence[Line], *, wide: bool) -> None:
    axes, styles = figure.add_subplot(), line_styles(run.lines)
    axes.axhline(0, color=BASELINE, linewidth=1.4, linestyle=(0, (4, 2)))
    for index, line in enumerate(lines):
        style, dodge = styles[line], _DODGE ** (index - (len(lines) - 1) / 2)
        for fraction in run.fractions:
            mean, low, high, verdict = estimate(run, line, fraction)
            if mean is None:
                continue
            at = fraction * dodge
            if low is not None and high is not None:
                axes.vlines(at, low, high, color=style.colour, linewidth=2)
            _mark(axes, at, mean, style.colour, style.marker, shown=is_shown(verdict))
            if is_shown(verdict) and len(lines) == 1:  # beside other lines it would lie upon their intervals
                top = high if high is not None else mean
                axes.annotate(
                    verdict,
                    (at, top),
                    xytext=(0, 4),
                    textcoords="offset points",
                    ha="center",
                    fontsize=10,
                )
        axes.plot([], [], color=style.colour, marker=style.marker, label=line.label)
    finish_shares(axes, run.fractions)
    axes.margins(y=0.12)
    axes.set_ylabel("difference in QWK")
    if len(lines) > 1:
        figure.legend(loc="outside upper left", ncols=min(len(lines), 5 if wide else 2), columnspacing=1.6)


def _draw_panels(run: Run, figure: Figure, lines: Sequence[Line], fractions: Sequence[float], *, stacked: bool) -> None:
    rows, columns = (len(fractions), 1) if stacked else (1, len(fractions))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    places = list(range(len(lines)))
    for axes, fraction in zip(panels, fractions, strict=True):
        axes.axvline(0, color=BASELINE, linewidth=1.4, linestyle=(0, (4, 2)))
        for place, line in zip(places, lines, strict=True):
            mean, low, high, verdict = estimate(run, line, fraction)
            if mean is None:
                continue
            # The colour says what the interval says: it lies above zero, below it, or on both sides.
            colour = SERIES[0] if (low or -math.inf) > 0 else SERIES[1] if (high or math.inf) < 0 else BASELINE
            if low is not None and high is not None:
                axes.hlines(place, low, high, color=colour, linewidth=2)
            _mark(axes, mean, place, colour, "o", shown=is_shown(verdict))
        axes.set_title(f"{share(fraction)} of the labels", fontsize=11)
        axes.grid(axis="x")
        axes.grid(axis="y", visible=False)
        axes.set_yticks(places, [line.label if line.arm != "pretrained" else line.pretext for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
    for axes in panels[-1:] if stacked else panels:
        axes.set_xlabel("difference in QWK")


def _mark(axes: Axes, x: float, y: float, colour: str, marker: str, *, shown: bool) -> None:
    """Draw a mean: filled where the verdict claims a difference, hollow where it does not."""
    face = colour if shown else GROUND
    axes.plot([x], [y], marker=marker, markersize=7, color=colour, markerfacecolor=face, markeredgewidth=1.8)
