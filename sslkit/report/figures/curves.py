"""Training curves: fine-tuning by share of the labels, and pretraining by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from sslkit.experiment.collapse import COLLAPSED
from sslkit.experiment.epoch_log import NO_METRICS
from sslkit.report.comparison import mean_curve, select
from sslkit.report.figures.canvas import Drawing, Sketch, make_drawing, slug
from sslkit.report.figures.palette import BASELINE, SERIES, LineStyle, line_styles
from sslkit.report.logs import folders_in, read_curve, read_pretrainings
from sslkit.report.tables import Line, Run
from sslkit.report.text import file_share, metric_name, plural, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = Mapping[float, float]
"""A metric by update or by epoch."""


def draw_convergence(run: Run) -> list[Drawing]:
    """Draw QWK and accuracy against updates, the mean over the cells of each line; one drawing a share of the labels.

    All drawings have the same axes, so that they can be compared. Shares without a curve are left out.
    """
    panels: dict[tuple[float, str], dict[Line, Curve]] = {}
    for fraction in run.fractions:
        for line in run.lines:
            cells = select(run, line, fraction)
            curves = [read_curve(run.directory / "cells" / cell.id / "metrics.jsonl") for cell in cells]
            for metric in ("qwk", "accuracy"):
                if curve := mean_curve(curves, "update", metric):
                    panels.setdefault((fraction, metric), {})[line] = curve
    metrics = [metric for metric in ("qwk", "accuracy") if any(key[1] == metric for key in panels)]
    ranges = {
        metric: _range(c for key, lines in panels.items() if key[1] == metric for c in lines.values())
        for metric in metrics
    }
    last = max((max(curve) for lines in panels.values() for curve in lines.values()), default=0.0)
    styles = line_styles(run.lines)

    def fill(figure: Figure, fraction: float, *, alone: bool) -> None:
        rows = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(rows, metrics, strict=True):
            for line, curve in panels.get((fraction, metric), {}).items():
                _plot(axes, curve, styles[line], line.label)
            axes.set(ylabel=metric_name(metric), ylim=ranges[metric], xlim=(0, last * 1.02))
        rows[-1].set_xlabel("updates")
        figure.align_ylabels()
        if alone:
            figure.suptitle(f"{share(fraction)} of the labels", fontsize=12)
            figure.legend(*rows[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)

    drawings = []
    for fraction in sorted({key[0] for key in panels}):
        name, title = f"convergence-{file_share(fraction)}", f"{share(fraction)} of the labels"
        shown = ", ".join(
            line.label for line in dict.fromkeys(ln for m in metrics for ln in panels.get((fraction, m), {}))
        )
        description = f"{' and '.join(map(metric_name, metrics))} against updates at {title}, means of {shown}."
        height = len(metrics)
        page = Sketch(partial(fill, fraction=fraction, alone=False), 340, 150 * height + 30)
        file = Sketch(partial(fill, fraction=fraction, alone=True), 480, 180 * height + 90)
        drawings.append(make_drawing(name, title, description, page, file))
    return drawings


def draw_pretraining(run: Run) -> dict[str, list[Drawing]]:
    """Draw the loss and each metric of every pretraining by epoch, one thin line a fold.

    Returns:
        By pretext task, one drawing a metric, the loss first; empty where nothing was pretrained.
    """
    root = run.directory / "pretraining"
    styles = line_styles(run.lines)
    drawings = {}
    for task in folders_in(root):
        folds = read_pretrainings(run, task.name)
        names = dict.fromkeys(key for curve in folds.values() for row in curve if "epoch" in row for key in row)
        metrics = sorted((name for name in names if name not in NO_METRICS), key=lambda name: name != "loss")
        if metrics:
            colour = next((styles[line].colour for line in run.lines if line.pretext == task.name), SERIES[0])
            style = LineStyle(colour, "o", "solid")
            drawings[task.name] = [_pretraining(task.name, metric, folds, style) for metric in metrics]
    return drawings


def _pretraining(
    task: str, metric: str, folds: Mapping[str, Sequence[Mapping[str, float]]], style: LineStyle
) -> Drawing:
    name = f"pretraining-{slug(task)}-{slug(metric)}"
    curves = {fold: mean_curve([curve], "epoch", metric) for fold, curve in folds.items()}
    untrained = _untrained(folds) if metric == "feature_spread" else {}
    curves |= {fold: {0.0: spread, **curves[fold]} for fold, spread in untrained.items()}
    title = metric_name(metric)
    finals = [curve[max(curve)] for curve in curves.values() if curve]
    description = (
        f"{title} of {task} by epoch, {plural(len(curves), 'pretraining')}; "
        f"in the last epoch between {min(finals):.3g} and {max(finals):.3g}."
    )

    def fill(figure: Figure, *, alone: bool) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        for curve in curves.values():
            _plot(axes, curve, style, None, width=1.1, alpha=0.75)
        axes.set(xlabel="epoch", ylabel=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if untrained:
            threshold = COLLAPSED * fmean(untrained.values())
            axes.axhline(threshold, color=BASELINE, linewidth=1.1, linestyle=(0, (2, 2)))
            axes.set_ylim(bottom=0)
        epochs = {epoch for curve in curves.values() for epoch in curve}
        if len(epochs) == 1:
            axes.set_xlim(min(epochs) - 1, max(epochs) + 1)  # the axis would count in hundredths
        if alone:
            axes.set_title(f"Pretraining: {task}", fontsize=12, loc="left")

    page = Sketch(lambda figure: fill(figure, alone=False), 340, 210)
    file = Sketch(lambda figure: fill(figure, alone=True), 480, 300)
    return make_drawing(name, title, description, page, file, png=False)


def _untrained(folds: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """Return the spread that each pretraining began with, where it was looked at."""
    found = {
        fold: [line["untrained_spread"] for line in log if "untrained_spread" in line] for fold, log in folds.items()
    }
    return {fold: spreads[0] for fold, spreads in found.items() if spreads}


def _plot(
    axes: Axes, curve: Curve, style: LineStyle, label: str | None, width: float = 1.8, alpha: float = 1.0
) -> None:
    marker = style.marker if len(curve) == 1 else None  # a line through one point cannot be seen
    axes.plot(
        list(curve),
        list(curve.values()),
        color=style.colour,
        linestyle=style.dash,
        linewidth=width,
        alpha=alpha,
        marker=marker,
        label=label,
    )


def _range(curves: Iterable[Curve]) -> tuple[float, float]:
    values = [value for curve in curves for value in curve.values()]
    margin = 0.06 * (max(values) - min(values)) or 0.05
    return min(values) - margin, max(values) + margin
