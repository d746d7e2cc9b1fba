"""Reliability curves: how often a grade is right that is given with a certain probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sslkit.report.comparison import select
from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing
from sslkit.report.figures.palette import BASELINE, line_styles
from sslkit.report.logs import read_confidences
from sslkit.report.tables import Line, Run
from sslkit.report.text import file_share, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sslkit.calibration import ReliabilityBin

_LARGEST_MARK = 220
"""Area, in square points, of a mark that holds all images of its line."""


def draw_reliability(run: Run) -> list[Drawing]:
    """Draw every line's reliability curve at the smallest and the largest share, all folds together."""
    import numpy as np

    from sslkit.calibration import reliability

    drawings = []
    for fraction in dict.fromkeys(run.fractions[:1] + run.fractions[-1:]):
        curves = {}
        for line in run.lines:
            confidences, right = read_confidences(run, select(run, line, fraction))
            if confidences:
                curves[line] = reliability(np.array(confidences), np.array(right))
        if curves:
            drawings.append(_draw(run, curves, fraction))
    return drawings


def _draw(run: Run, curves: Mapping[Line, Sequence[ReliabilityBin]], fraction: float) -> Drawing:
    name, title = f"reliability-{file_share(fraction)}", f"{share(fraction)} of the labels"
    lines = "; ".join(
        f"{line.label}: {', '.join(f'{b.frequency:.2f} at {b.confidence:.2f}' for b in curve)}"
        for line, curve in curves.items()
    )
    description = f"Share of grades that are right against their probability, at {title}. {lines}."
    styles = line_styles(run.lines)

    def fill(figure: Figure, *, alone: bool) -> None:
        axes = figure.add_subplot()
        axes.grid(axis="x")
        axes.plot([0, 1], [0, 1], color=BASELINE, linewidth=1, linestyle=(0, (2, 2)))
        for line, curve in curves.items():
            style, total = styles[line], sum(entry.count for entry in curve)
            x, y = [entry.confidence for entry in curve], [entry.frequency for entry in curve]
            areas = [max(6.0, _LARGEST_MARK * entry.count / total) for entry in curve]
            axes.plot(x, y, color=style.colour, linestyle=style.dash, linewidth=1.8, label=line.label)
            axes.scatter(x, y, s=areas, color=style.colour, marker=style.marker, alpha=0.55, linewidths=0)
        axes.set(
            xlim=(0, 1.03), ylim=(0, 1.03), aspect="equal", xlabel="probability given", ylabel="share that is right"
        )
        if alone:
            figure.suptitle(title, fontsize=12)
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=2)

    page = Sketch(lambda figure: fill(figure, alone=False), 340, 330)
    return make_drawing(name, title, description, page, Sketch(lambda figure: fill(figure, alone=True), 480, 500))
