"""Grade by grade: confusion, recall, referable cases, and whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

from sslkit.report.comparison import select
from sslkit.report.figures import Drawing, draw_confusion, draw_recall, draw_reliability
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.figures import FEW, figure, foldable, panels
from sslkit.report.sections.table import column, group, head, legend, line_name, row, table
from sslkit.report.tables import Run
from sslkit.report.text import number, plural, share


def confusion_section(run: Run, drawings: list[Drawing]) -> Markup:
    """Return every line's confusion matrix at the smallest and the largest share."""
    by_share, missing = draw_confusion(run)
    note = "Test images of all folds together. The number is the count; the colour its share of the true class."
    parts = [element("p", note, class_="note")] if by_share else []
    for fraction, matrices in by_share.items():
        drawings += matrices
        title = f"{share(fraction)} of the labels"
        parts.append(foldable(title, panels(matrices), folded=len(matrices) > FEW))
    if missing:
        cells = f"{plural(len(missing), 'cell')}, whose predictions.csv is missing"
        said = f"Without the predictions of {cells}: {', '.join(missing)}."
        parts.append(element("p", said, class_="note"))
    return join(parts)


def grades_section(run: Run, drawings: list[Drawing]) -> Markup:
    """Return the recall of each grade, drawn and as a table, and what the head's binary question came to."""
    if not run.cells:
        return NOTHING
    parts = []
    if (drawing := draw_recall(run)) is not None:
        drawings.append(drawing)
        said = "Recall: the share of a grade's images that were recognised. Large marks: means; small dots: folds."
        parts += [figure(drawing), element("p", said, class_="note")]
    folded = len(run.lines) > FEW
    parts.append(foldable("Recall of each grade, by share", recall_table(run), folded=folded))
    if (referable := referable_table(run)) is not None:
        parts.append(foldable("Referable cases", referable, folded=folded))
    return join(parts)


def reliability_section(run: Run, drawings: list[Drawing]) -> Markup:
    """Return reliability curves, calibration errors and Brier scores."""
    curves = draw_reliability(run)
    if not curves:
        return NOTHING
    drawings += curves
    note = (
        "How often the predicted grade is right, by the probability that it was given; test images of all folds, the "
        "area of a mark their number. On the dotted diagonal probabilities mean what they say; below it the network is "
        "too sure of itself, above it not sure enough."
    )
    errors = foldable("Calibration errors", calibration_table(run), folded=len(run.lines) > FEW)
    return join([element("p", note, class_="note"), legend(run), panels(curves), errors])


def recall_table(run: Run) -> Markup:
    """Return the mean recall of each class, arm by arm and share by share."""
    columns = [(name, f"recall_{k}_mean") for k, name in enumerate(run.class_names)]
    return _means_table(run, columns, "Mean recall of each grade, over folds.", "Recall of each grade")


def referable_table(run: Run) -> Markup | None:
    """Return AUROC, sensitivity and specificity of the head's binary question; None where it asks none."""
    names = ("AUROC", "threshold", "sensitivity", "specificity")
    columns = [(name, f"referable_{name.lower()}_mean") for name in names]
    if not any(key in row.scores for row in run.summaries for _, key in columns):
        return None
    said = (
        "An image is called positive from a threshold on the probability that its grade is: the one that maximises "
        "sensitivity + specificity (Youden's J) on the cell's own labelled images, as the other folds' models score "
        "them. Means over folds."
    )
    return _means_table(run, columns, f"{_referable_sentence(run)} {said}", "Referable cases")


def calibration_table(run: Run) -> Markup:
    """Return the mean calibration error and Brier score, arm by arm and share by share."""
    said = (
        "ECE: the mean distance of the curve from the diagonal, weighted by images, in ten bins; too high on few "
        "images. Brier: mean squared distance of the probabilities from the truth, 0 to 2. Of both, 0 is "
        "perfect. Means over folds."
    )
    return _means_table(run, [("ECE", "ece_mean"), ("Brier", "brier_mean")], said, "Calibration")


def _referable_sentence(run: Run) -> str:
    lowest, names = run.info.get("positive_from"), run.class_names
    if not isinstance(lowest, int) or not 0 < lowest < len(names):
        return "Positive against negative grades, as the head draws the line."
    return f"Positive: {', '.join(names[lowest:])}. Negative: {', '.join(names[:lowest])}."


def _means_table(run: Run, columns: Sequence[tuple[str, str]], caption: str, label: str) -> Markup:
    bodies = []
    for line in run.lines:
        rows = [group(line_name(run, line), len(columns) + 1)]
        for fraction in run.fractions:
            summary = run.summary(line, fraction)
            if summary is not None and select(run, line, fraction):
                rows.append(row(share(fraction), [number(summary.scores.get(key)) for _, key in columns]))
        bodies.append(element("tbody", *rows))
    titles = head(column("labels", "text"), *(column(name) for name, _ in columns))
    narrow = "slim" if len(columns) < 3 else None
    return join([element("p", caption, class_="note"), table(label, titles, *bodies, class_=narrow)])
