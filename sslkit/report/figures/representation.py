"""Features of images on a plane, coloured by grade."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing
from sslkit.report.figures.palette import INK, MARKERS, MUTED, RAMP
from sslkit.report.projection import ProjectionFile
from sslkit.report.text import plural, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = (MARKERS[0], "s", *MARKERS[1:])
_UNLABELLED = "no label"


def draw_representation(projection: ProjectionFile) -> Drawing:
    """Draw one mark an image: its colour and shape the grade, ringed where the weights have not seen it."""
    return make_drawing(
        "representation",
        f"Features of {plural(projection.images, 'image')}, by {projection.method_name}",
        _describe(projection),
        Sketch(lambda figure: _draw(projection, figure, columns=6), 900, 560),
        narrow=Sketch(lambda figure: _draw(projection, figure, columns=2), 360, 400),
    )


def _describe(projection: ProjectionFile) -> str:
    names = projection.class_names
    counts = Counter(_UNLABELLED if grade < 0 else names[grade] for grade in projection.grades)
    told = ", ".join(f"{name} {counts[name]:,}" for name in (*names, _UNLABELLED) if counts[name])
    axes = " and ".join(_axis(projection, place) for place in (0, 1))
    return f"Scatter of the features of images along {axes}, coloured by grade: {told}."


def _axis(projection: ProjectionFile, place: int) -> str:
    if projection.shares is None:
        return f"UMAP {place + 1}"
    return f"component {place + 1} ({share(round(projection.shares[place], 3))} of the variance)"


def _draw(projection: ProjectionFile, figure: Figure, columns: int) -> None:
    axes = figure.add_subplot()
    names = projection.class_names
    _scatter(axes, projection, -1, MUTED, "o", _UNLABELLED)
    for grade, name in enumerate(names):
        place = 0 if len(names) < 2 else round(grade * (len(RAMP) - 1) / (len(names) - 1))
        _scatter(axes, projection, grade, RAMP[place], _MARKERS[grade % len(_MARKERS)], name)
    axes.set(aspect="equal", adjustable="datalim", xlabel=_axis(projection, 0), ylabel=_axis(projection, 1))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
    legend = figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper left", ncols=columns, markerscale=1.4, handletextpad=0.2
    )
    for handle in legend.legend_handles:
        handle.set_alpha(1)  # type: ignore[union-attr]


def _scatter(axes: Axes, projection: ProjectionFile, grade: int, colour: str, marker: str, label: str) -> None:
    rows = [row for row, found in enumerate(projection.grades) if found == grade]
    if not rows:
        return
    unseen = [row for row in rows if projection.fold is not None and projection.folds[row] == projection.fold]
    seen = sorted(set(rows) - set(unseen))
    ring = {"s": 34, "edgecolors": INK, "linewidths": 0.9, "alpha": 0.95, "zorder": 3}
    plain = {"s": 20, "linewidths": 0, "alpha": 0.6, "zorder": 2}
    for some, style, said in ((seen, plain, label), (unseen, ring, label if not seen else None)):
        if some:
            x, y = [projection.x[row] for row in some], [projection.y[row] for row in some]
            axes.scatter(x, y, color=colour, marker=marker, label=said, **style)
