"""The paired difference of each pretext task to training from scratch, one below another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslkit.report.comparison import SCRATCH, paired_difference
from sslkit.report.figures.canvas import Drawing, draw_svg, inline, standalone
from sslkit.report.figures.palette import BASELINE, SERIES
from sslkit.report.tables import Line, Run
from sslkit.report.text import metric_name, share, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 24
"""Height of a task, in pixels."""


def draw_differences(run: Run, lines: Sequence[Line], fractions: Sequence[float]) -> Drawing | None:
    """Draw the mean paired difference and its 95 % interval of each line, one panel a share of the labels.

    Returns:
        The drawing; None where there is nothing to compare with.
    """
    if SCRATCH not in run.lines or not lines:
        return None
    name = f"{run.metric.replace('_', '-')}-differences"
    title = f"Difference in {metric_name(run.metric)} to training from scratch"
    description = f"{title}, with its 95 % interval. {_describe(run, lines, fractions)}"
    height = _ROW * len(lines) + 90
    wide = draw_svg(lambda figure: _draw(run, figure, lines, fractions, stacked=False), name, 900, height)
    tall = len(fractions) * height
    narrow = draw_svg(lambda figure: _draw(run, figure, lines, fractions, stacked=True), f"{name}-narrow", 360, tall)
    return Drawing(
        name,
        title,
        description,
        inline(wide, name, description),
        standalone(wide, description),
        inline(narrow, f"{name}-narrow", description),
    )


def _describe(run: Run, lines: Sequence[Line], fractions: Sequence[float]) -> str:
    told = [
        f"{line.label}: "
        + ", ".join(f"{signed(paired_difference(run, line, f).mean)} at {share(f)}" for f in fractions)
        for line in lines
    ]
    return "; ".join(told) + "."


def _draw(run: Run, figure: Figure, lines: Sequence[Line], fractions: Sequence[float], *, stacked: bool) -> None:
    rows, columns = (len(fractions), 1) if stacked else (1, len(fractions))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    places = list(range(len(lines)))
    for axes, fraction in zip(panels, fractions, strict=True):
        axes.axvline(0, color=BASELINE, linewidth=1.4, linestyle=(0, (4, 2)))
        for place, line in zip(places, lines, strict=True):
            summary, mean = run.summary(line, fraction), paired_difference(run, line, fraction).mean
            low, high = (summary.scores.get(f"delta_{end}") if summary else None for end in ("low", "high"))
            if mean is None:
                continue
            # The colour says what the interval says: it lies above zero, below it, or on both sides.
            colour = (
                SERIES[0] if low is not None and low > 0 else SERIES[1] if high is not None and high < 0 else BASELINE
            )
            if low is not None and high is not None:
                axes.hlines(place, low, high, color=colour, linewidth=2)
            axes.plot([mean], [place], marker="o", markersize=7, color=colour)
        axes.set_title(f"{share(fraction)} of the labels", fontsize=11)
        axes.grid(axis="x")
        axes.grid(axis="y", visible=False)
        axes.set_yticks(places, [line.label if line.arm != "pretrained" else line.pretext for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
    panels[-1].set_xlabel(f"difference in {metric_name(run.metric)}")
    if not stacked:
        for axes in panels[:-1]:
            axes.set_xlabel(f"difference in {metric_name(run.metric)}")
