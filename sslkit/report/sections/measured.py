"""What was measured: scores by share of the labels, the differences to training from scratch, and the labels saved."""

from __future__ import annotations

from sslkit.report.comparison import LEAST_FOLDS
from sslkit.report.figures import Drawing, draw_differences, draw_differences_by_share, draw_savings, draw_scores
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.figures import figure
from sslkit.report.sections.opening import MOST_STATEMENTS, headline
from sslkit.report.sections.scores import counts_table, difference_table, score_table
from sslkit.report.sections.tasks import NUM_SHARES, compared_lines, tasks_table
from sslkit.report.tables import Run

_KAPPA = "QWK, quadratic weighted kappa, is the agreement with the true grades: 1 is perfect, and 0 is chance."
_CELLS = "A cell is one network, trained for one arm on one share of the labels and tested on one fold."


def measured_section(run: Run, drawings: list[Drawing]) -> Markup:
    """Return the figure that the report is read for, what it comes to in words, and its tables."""
    if not run.cells:
        return element("p", "No cell of this run has a result yet: results.csv has no rows.", class_="statement")
    if len(run.lines) > MOST_STATEMENTS:
        every = (element("summary", "Scores of every arm"), score_table(run), difference_table(run))
        kappa = element("p", _KAPPA, class_="note")
        parts = [_tasks(run, drawings), kappa, headline(run), _savings(run, drawings), element("details", *every)]
        return join([*parts, counts_table(run)])
    drawing = draw_scores(run)
    drawings.append(drawing)
    parts = [figure(drawing), element("p", _how_to_read(run), class_="note"), headline(run), score_table(run)]
    return join([*parts, _differences(run, drawings), _savings(run, drawings), counts_table(run)])


def _how_to_read(run: Run) -> str:
    folds = len({cell.fold for cell in run.cells})
    intervals = (
        "Bars and bands: the 95 % interval of the mean, by the corrected resampled t over folds; arms are compared in "
        "pairs below, not by whether these overlap. "
        if folds >= LEAST_FOLDS
        else "With fewer than three folds no interval of the mean is drawn. "
    )
    kappa = f"{_KAPPA} " if run.metric == "qwk" else ""
    return (
        f"{kappa}Large marks: means. Small dots: single cells. {intervals}The axis of shares is logarithmic. {_CELLS}"
    )


def _tasks(run: Run, drawings: list[Drawing]) -> Markup:
    lines = compared_lines(run)
    if not lines:
        return NOTHING
    fractions = run.fractions[:NUM_SHARES]
    parts = []
    if drawing := draw_differences(run, lines, fractions):
        drawings.append(drawing)
        parts.append(figure(drawing))
    return join([*parts, tasks_table(run, lines, fractions)])


def _differences(run: Run, drawings: list[Drawing]) -> Markup:
    """Return the differences to training from scratch by share, and what tasks cost where there are several."""
    drawing = draw_differences_by_share(run)
    if drawing is None:
        return NOTHING
    drawings.append(drawing)
    note = "Marks: mean paired differences in QWK; above the dashed line the arm scored higher. "
    note += (
        "Bars: their 95 % intervals. A filled mark has a verdict, benefit or harm, by Holm's p; a hollow one has none."
        if any(summary.verdict for summary in run.summaries)
        else "No test was drawn."
    )
    parts = [figure(drawing), element("p", note, class_="note"), difference_table(run)]
    if lines := compared_lines(run):
        parts += [element("h3", "Tasks side by side"), tasks_table(run, lines, run.fractions[:NUM_SHARES])]
    return join(parts)


def _savings(run: Run, drawings: list[Drawing]) -> Markup:
    drawing = draw_savings(run)
    if drawing is None:
        return NOTHING
    drawings.append(drawing)
    note = (
        "From the share that pretraining had, to the hollow mark: the share on which training from scratch does as "
        "well. The grey bar is its 95 % interval; an arrow head lies at the end of what was measured. Drawn at the "
        "smallest share with a benefit, and only there."
    )
    return join([figure(drawing), element("p", note, class_="note")])
