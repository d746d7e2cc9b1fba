"""How many labels pretraining saved: the share it had, and the share that training from scratch needs for as much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing
from sslkit.report.figures.palette import BASELINE, GROUND, INK, line_styles
from sslkit.report.figures.shares import finish_shares
from sslkit.report.savings import savings
from sslkit.report.tables import Line, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sslkit.statistics import LabelsSaved

_ROW = 46


def draw_savings(run: Run) -> Drawing | None:
    """Draw the labels saved of every line with a benefit; None where there is none."""
    from sslkit.statistics import labels_saved_sentence

    saved = savings(run)
    if not saved:
        return None
    height = _ROW * len(saved) + 70
    return make_drawing(
        "labels-saved",
        "Labels saved",
        f"{'. '.join(labels_saved_sentence(one, line.label) for line, one in saved.items())}.",
        Sketch(lambda figure: _draw(run, figure, saved), 900, height),
        narrow=Sketch(lambda figure: _draw(run, figure, saved), 360, height),
    )


def _draw(run: Run, figure: Figure, saved: Mapping[Line, LabelsSaved]) -> None:
    from sslkit.statistics.sentence import saved_in_words

    axes, styles = figure.add_subplot(), line_styles(run.lines)
    finish_shares(axes, run.fractions)
    for place, (line, one) in enumerate(saved.items()):
        style = styles[line]
        if one.low is not None and one.high is not None:
            axes.hlines(place, one.low.value, one.high.value, color=BASELINE, alpha=0.35, linewidth=9)
        axes.annotate(
            "",
            (one.needed.value, place),
            xytext=(one.share, place),
            arrowprops={"arrowstyle": "-", "color": style.colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0},
        )
        axes.plot([one.share], [place], marker=style.marker, color=style.colour, markersize=8)
        _needed(axes, place, one)
        said = f"{line.label}: {saved_in_words(one.needed)}"
        axes.text(run.fractions[0], place - 0.32, said, color=INK, fontsize=11, ha="left", va="bottom")
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x")
    axes.set_ylim(len(saved) - 0.5, -0.85)


def _needed(axes: Axes, place: int, saved: LabelsSaved) -> None:
    """Draw what training from scratch needs: hollow, and as an arrow where it lies beyond what was measured."""
    marker = {"at": "s", "above": ">", "below": "<"}[saved.needed.bound]
    axes.plot([saved.needed.value], [place], marker=marker, color=BASELINE, markerfacecolor=GROUND, markersize=8)
