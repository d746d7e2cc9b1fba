"""The tables of scores: what each arm reached, how it differs from training from scratch, and what that rests on."""

from __future__ import annotations

from collections.abc import Sequence

from sslkit.report.comparison import SCRATCH, mean_interval, paired_difference, select, spread
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.reference import Reference, reference_for
from sslkit.report.sections.table import column, group, head, line_name, row, table
from sslkit.report.tables import Line, Run, Summary
from sslkit.report.text import UNDEFINED, count, metric_name, number, p_value, plural, share, signed


def score_table(run: Run) -> Markup:
    """Return minimum, mean and maximum of the primary metric by share of the labels, arm by arm.

    What was published on the same images stands below, with its source and why it is another protocol's.
    """
    fractions = run.fractions
    counts = [_images(run, fraction) for fraction in fractions]
    first = join(["labels", _below("images")] if any(counts) else ["labels"], " ")
    titles = [column(first, "text")]
    titles += [column(join([share(f), _below(n)], " ")) for f, n in zip(fractions, counts, strict=True)]
    bodies = [_score_body(run, line, fractions) for line in run.lines]
    parts = []
    if reference := reference_for(run):
        bodies.append(_reference_body(reference, fractions))
        said = f"{reference.label[0].upper()}{reference.label[1:]}: {reference.source}. "
        parts = [element("p", said, element("strong", reference.caution), class_="note")]
    folds = len({cell.fold for cell in run.cells})
    note = f"{metric_name(run.metric)} by share of the labels, over {plural(folds, 'fold')}."
    narrow = "slim" if len(fractions) < 3 else None
    shown = table("Scores by share of the labels", head(*titles), *bodies, class_=narrow)
    return join([element("p", note, class_="note"), shown, *parts])


def _images(run: Run, fraction: float) -> str:
    labels = next((r.labels for r in run.summaries if r.fraction == fraction and r.labels is not None), None)
    return "" if labels is None else count(labels)


def _below(text: str) -> Markup:
    return element("span", text, class_="sub") if text else NOTHING


def _score_body(run: Run, line: Line, fractions: Sequence[float]) -> Markup:
    spreads = [spread(run, line, fraction) for fraction in fractions]
    return element(
        "tbody",
        group(line_name(run, line), len(fractions) + 1),
        row("min", [number(s.low) for s in spreads]),
        row("mean", [number(s.mean) for s in spreads], "main"),
        row("max", [number(s.high) for s in spreads]),
    )


def _reference_body(reference: Reference, fractions: Sequence[float]) -> Markup:
    sample = element("span", class_="swatch dotted", aria_hidden="true")
    spreads = [reference.spreads.get(fraction) for fraction in fractions]
    return element(
        "tbody",
        group(join([sample, reference.label]), len(fractions) + 1),
        *(row(name, [number(getattr(s, part) if s else None) for s in spreads]) for name, part in _PARTS),
        class_="reference",
    )


_PARTS = (("min", "low"), ("mean", "mean"), ("max", "high"))


def difference_table(run: Run) -> Markup:
    """Return each arm's paired difference to training from scratch by share, with what the test says of it."""
    lines = [line for line in run.lines if line != SCRATCH]
    if SCRATCH not in run.lines or not lines:
        return NOTHING
    tested = any(summary.verdict for summary in run.summaries)
    of_qwk = "" if run.metric == "qwk" else " (QWK)"
    names = ["difference" if run.metric == "qwk" else f"difference in {metric_name(run.metric)}"]
    names += [f"95 % interval{of_qwk}", f"p (Holm){of_qwk}", f"verdict{of_qwk}"] if tested else []
    bodies = []
    for line in lines:
        rows = [group(line_name(run, line), len(names) + 1)]
        for fraction in run.fractions:
            summary, mean = run.summary(line, fraction), paired_difference(run, line, fraction).mean
            values: list[object] = [element("strong", signed(mean))]
            rows.append(row(share(fraction), values + (_test(summary) if tested else [])))
        bodies.append(element("tbody", *rows))
    note = (
        f"The paired difference in {metric_name(run.metric)} compares cells of the same share, fold and repetition: a "
        "fold that is hard for both arms does not count against one."
    )
    shown = table(
        "Paired differences to training from scratch",
        head(column("labels", "text"), *map(column, names)),
        *bodies,
        class_=None if tested else "slim",
    )
    return join([element("p", note, class_="note"), shown])


def _test(summary: Summary | None) -> list[object]:
    if summary is None:
        return [UNDEFINED] * 3
    verdict = summary.verdict.replace("no difference shown", "not shown")
    badge = element("span", verdict, class_=f"verdict {verdict.replace(' ', '-')}") if verdict else UNDEFINED
    interval = _interval(*(summary.scores.get(f"delta_{end}") for end in ("low", "high")), signs=True)
    return [interval, p_value(summary.scores.get("p_holm")), badge]


def counts_table(run: Run) -> Markup:
    """Return what the scores rest on, arm by arm and share by share: labels, cells, pairs and intervals of the mean."""
    undefined = any(summary.undefined for summary in run.summaries)
    paired = SCRATCH in run.lines
    unpaired = paired and any(
        paired_difference(run, line, f).unpaired for line in run.lines if line != SCRATCH for f in run.fractions
    )
    sampled = any(summary.scores.get("ci_low") is not None for summary in run.summaries)
    names = ["images", "cells", *(["undefined"] if undefined else []), *(["without a pair"] if unpaired else [])]
    names += [f"95 % interval of the mean {metric_name(run.metric)}"]
    names += ["test sampling only (QWK)"] if sampled else []
    bodies = []
    for line in run.lines:
        rows = [group(line_name(run, line), len(names) + 1)]
        for fraction in run.fractions:
            summary = run.summary(line, fraction)
            if summary is None or not select(run, line, fraction):
                continue
            values = [count(summary.labels), count(summary.n)]
            values += [count(summary.undefined)] if undefined else []
            if unpaired:
                lacking = paired_difference(run, line, fraction).unpaired
                values.append("" if line == SCRATCH else count(lacking))
            values.append(_interval(*(mean_interval(run, line, fraction, run.metric) or (None, None))))
            values += [_interval(summary.scores.get("ci_low"), summary.scores.get("ci_high"))] if sampled else []
            rows.append(row(share(fraction), values))
        bodies.append(element("tbody", *rows))
    shown = table("Labels, cells and intervals", head(column("labels", "text"), *map(column, names)), *bodies)
    note = (
        "The interval of the mean is the corrected resampled t over folds. That of test sampling draws the test "
        "patients anew with the models fixed: it says nothing of another training."
        if sampled
        else "The interval of the mean is the corrected resampled t over folds; fewer than three folds have none."
    )
    return element("details", element("summary", "Labels, cells and intervals of every arm"), shown, _note(note))


def _note(text: str) -> Markup:
    return element("p", text, class_="note")


def _interval(low: float | None, high: float | None, *, signs: bool = False) -> str:
    write = signed if signs else number
    return UNDEFINED if low is None or high is None else f"{write(low)} to {write(high)}"
