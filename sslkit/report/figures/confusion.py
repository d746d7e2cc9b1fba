"""Confusion matrices, pooled over folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sslkit.report.comparison import select
from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing, slug
from sslkit.report.figures.palette import HEAT, INK
from sslkit.report.logs import read_confusion
from sslkit.report.tables import Line, Run
from sslkit.report.text import file_share, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DARKEST = 0.8
"""Opacity of a cell that holds its whole row; the theme's ink stays readable (4.5 to 1) on it, light or dark."""

_MOST_COUNTED = 12
"""With more classes than this, counts would not fit their cells and are left out."""


def draw_confusion(run: Run) -> tuple[dict[float, list[Drawing]], list[str]]:
    """Draw every line's matrix at the smallest and the largest share: colour by row, counts in the cells.

    Returns:
        By share, one drawing a line that has predictions; and the ids of cells without a predictions.csv.
    """
    drawings: dict[float, list[Drawing]] = {}
    missing: list[str] = []
    for fraction in dict.fromkeys(run.fractions[:1] + run.fractions[-1:]):
        for line in run.lines:
            counts, absent = read_confusion(run, select(run, line, fraction))
            missing += absent
            if any(map(any, counts)):
                drawings.setdefault(fraction, []).append(_matrix(counts, run.class_names, line, fraction))
    return drawings, missing


def _matrix(counts: Sequence[Sequence[int]], names: Sequence[str], line: Line, fraction: float) -> Drawing:
    name = f"confusion-{slug(*filter(None, line))}-{file_share(fraction)}"
    rows = "; ".join(f"{names[k]}: {', '.join(map(str, row))}" for k, row in enumerate(counts))
    description = (
        f"Confusion matrix of {line.label} at {share(fraction)} of the labels. Predicted counts by true class: {rows}."
    )

    def fill(figure: Figure, *, alone: bool) -> None:
        _fill(figure, counts, names)
        if alone:
            figure.suptitle(f"{line.label}, {share(fraction)} of the labels", fontsize=12)

    page = Sketch(lambda figure: fill(figure, alone=False), 340, 330)
    return make_drawing(name, line.label, description, page, Sketch(lambda figure: fill(figure, alone=True), 480, 480))


def _fill(figure: Figure, counts: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    axes = figure.add_subplot()
    size = len(names)
    for true, row in enumerate(counts):
        for predicted, value in enumerate(row):
            part = value / sum(row) if any(row) else 0.0
            axes.add_patch(Rectangle((predicted, true), 1, 1, color=HEAT, alpha=_DARKEST * part, linewidth=0))
            if size <= _MOST_COUNTED:
                axes.text(predicted + 0.5, true + 0.5, str(value), ha="center", va="center", color=INK, fontsize=11)
    short = [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
    ticks = [k + 0.5 for k in range(size)]
    axes.set_xticks(ticks, short, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, short)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal", xlabel="predicted", ylabel="true")
