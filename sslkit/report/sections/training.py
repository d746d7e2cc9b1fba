"""What happened while networks were trained: fine-tuning by share of the labels, and pretraining by epoch."""

from __future__ import annotations

from sslkit.report.figures import Drawing, draw_convergence, draw_pretraining
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.figures import FEW, foldable, panels
from sslkit.report.sections.pretraining import collapse_banner, kept_epochs, spread_note
from sslkit.report.sections.table import legend
from sslkit.report.tables import Run


def convergence_section(run: Run, drawings: list[Drawing]) -> Markup:
    """Return the test scores of every line through fine-tuning."""
    curves = draw_convergence(run)
    if not curves:
        return NOTHING
    drawings += curves
    note = "Scores of the test folds while fine-tuning: means over cells. Nothing is chosen by these curves."
    return join([element("p", note, class_="note"), legend(run), panels(curves)])


def pretraining_section(run: Run, drawings: list[Drawing]) -> Markup:
    """Return the loss and the metrics of every pretext task, and what is to be said of them."""
    tasks = draw_pretraining(run)
    if not tasks:
        return NOTHING
    parts = [element("p", "Loss and metrics of the pretext task by epoch; one line a pretraining.", class_="note")]
    for task, curves in tasks.items():
        drawings += curves
        flag = collapse_banner(run, task)  # never folded away
        notes = (spread_note(run, task), kept_epochs(run, task))
        parts += [flag, foldable(task, panels(curves), *notes, folded=len(tasks) > FEW)]
    return join(parts)
