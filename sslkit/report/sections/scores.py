"""The tables of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sslkit.report.comparison import SCRATCH, Difference, paired_difference, select, spread
from sslkit.report.figures.palette import VARIABLES, line_styles
from sslkit.report.markup import Markup, element, join
from sslkit.report.tables import Line, Run, Summary
from sslkit.report.text import UNDEFINED, count, metric_name, number, share, signed


def scroll(*children: object, label: str) -> Markup:
    """Return a box that scrolls sideways where its content is wider than the screen, by keyboard too."""
    return element("div", *children, class_="scroll", role="region", aria_label=label, tabindex="0")


def line_name(run: Run, line: Line, label: str | None = None) -> Markup:
    """Return a line's label, or another one for it, behind a sample of its colour."""
    style = line_styles(run.lines)[line]
    dashed = "swatch" if style.dash == "solid" else "swatch dashed"
    sample = element("span", class_=dashed, style=f"color: {VARIABLES[style.colour]}", aria_hidden="true")
    return join([sample, label or line.label])


def legend(run: Run) -> Markup:
    """Return the key of line colours."""
    return element("ul", *(element("li", line_name(run, line)) for line in run.lines), class_="legend")


def score_table(run: Run) -> Markup:
    """Return minimum, mean and maximum of the primary metric by share of the labels, arm by arm."""
    fractions = run.fractions
    head = element("thead", element("tr", _column("labels", "text"), *(_column(share(f)) for f in fractions)))
    caption = f"{metric_name(run.metric)} over folds, by share of the labels. " + (
        "The paired difference, to training from scratch, compares cells of the same share, fold and repetition."
        if SCRATCH in run.lines and len(run.lines) > 1
        else ""
    )
    if any(row.scores.get("ci_low") is not None for row in run.summaries):
        caption += (
            " The interval of test sampling draws the test patients anew with the models fixed: it says nothing of "
            "another training."
        )
    bodies = [_score_body(run, line, fractions) for line in run.lines]
    table = scroll(
        element("table", head, *bodies, class_="slim" if len(fractions) < 3 else None),
        label="Scores by share of the labels",
    )
    return join([element("p", caption, class_="note"), table])


def _score_body(run: Run, line: Line, fractions: Sequence[float]) -> Markup:
    spreads = [spread(run, line, f) for f in fractions]
    summaries = [run.summary(line, f) for f in fractions]
    of_qwk = "" if run.metric == "qwk" else ", QWK"
    rows = [
        element("tr", element("th", line_name(run, line), scope="rowgroup", colspan=len(fractions) + 1)),
        _row("min", [number(s.low) for s in spreads]),
        _row("mean", [number(s.mean) for s in spreads], "main"),
        _row("max", [number(s.high) for s in spreads]),
        *_test_sampling(summaries, of_qwk),
    ]
    if line != SCRATCH and SCRATCH in run.lines:
        differences = [paired_difference(run, line, f) for f in fractions]
        rows.append(_row("mean paired difference", [signed(d.mean) for d in differences], "main difference"))
        rows += _tests(summaries, of_qwk)
        rows += _unpaired(differences)
    rows.append(_row("labelled images", [count(s.labels if s else None) for s in summaries], "quiet"))
    rows.append(_row("cells", [count(s.n if s else 0) for s in summaries], "quiet"))
    if any(s.undefined for s in summaries if s):
        rows.append(_row("of them undefined", [count(s.undefined if s else 0) for s in summaries], "quiet"))
    return element("tbody", *rows)


_NOT_SHOWN = {"no difference shown": "not shown"}


def _test_sampling(summaries: Sequence[Summary | None], of_qwk: str) -> Iterator[Markup]:
    """Yield the bootstrap interval of the mean, where one was drawn."""
    if any(s and s.scores.get("ci_low") is not None for s in summaries):
        yield _row(f"95 % interval, test sampling only{of_qwk}", _intervals(summaries, "ci", number), "quiet")


def _tests(summaries: Sequence[Summary | None], of_qwk: str) -> Iterator[Markup]:
    """Yield the interval of the paired difference, its adjusted p-value and the verdict, where they were drawn."""
    if not any(s and s.verdict for s in summaries):
        return
    yield _row(f"its 95 % interval{of_qwk}", _intervals(summaries, "delta", signed), "quiet")
    yield _row(
        f"p, adjusted (Holm){of_qwk}", [number(s.scores.get("p_holm") if s else None) for s in summaries], "quiet"
    )
    # "no difference shown", at every share, would make the table wider than the page.
    yield _row(f"verdict{of_qwk}", [_NOT_SHOWN.get(s.verdict, s.verdict) if s else "" for s in summaries])


def _intervals(summaries: Sequence[Summary | None], name: str, write: Callable[[float | None], str]) -> list[str]:
    ends = [[s.scores.get(f"{name}_{end}") if s else None for end in ("low", "high")] for s in summaries]
    return [UNDEFINED if None in pair else " to ".join(map(write, pair)) for pair in ends]


def _unpaired(differences: Sequence[Difference]) -> Iterator[Markup]:
    if any(d.unpaired for d in differences):
        yield _row("cells without a pair", [count(d.unpaired) for d in differences], "quiet")


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
    head = element("thead", element("tr", _column("labels", "text"), *(_column(name) for name, _ in columns)))
    bodies = []
    for line in run.lines:
        rows = [element("tr", element("th", line_name(run, line), scope="rowgroup", colspan=len(columns) + 1))]
        for fraction in run.fractions:
            summary = run.summary(line, fraction)
            if summary is not None and select(run, line, fraction):
                rows.append(_row(share(fraction), [number(summary.scores.get(key)) for _, key in columns]))
        bodies.append(element("tbody", *rows))
    return join([element("p", caption, class_="note"), scroll(element("table", head, *bodies), label=label)])


def _column(name: str, class_: str | None = None) -> Markup:
    return element("th", name, scope="col", class_=class_)


def _row(name: str, values: Sequence[str], class_: str | None = None) -> Markup:
    return element("tr", element("th", name, scope="row"), *(element("td", value) for value in values), class_=class_)
