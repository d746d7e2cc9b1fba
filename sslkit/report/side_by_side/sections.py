"""The sections of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sslkit.experiment.sentences import sentences
from sslkit.report.comparison import SCRATCH, spread
from sslkit.report.figures import Drawing
from sslkit.report.figures.differences import estimate
from sslkit.report.figures.palette import VARIABLES
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.figures import figure
from sslkit.report.sections.table import column, group, head, row, table
from sslkit.report.side_by_side.figures import draw_pairs, draw_runs, styles_of
from sslkit.report.side_by_side.named import NamedRun
from sslkit.report.side_by_side.pairs import run_pairs, why_no_pairs
from sslkit.report.side_by_side.settings import differing_settings, differing_surroundings
from sslkit.report.tables import Line
from sslkit.report.text import UNDEFINED, count, metric_name, moment, number, p_value, share, signed


def conclusions(runs: Sequence[NamedRun]) -> Markup:
    """Return what each run concluded by itself."""
    said = [
        element("p", element("span", f"{named.name}: ", class_="whose"), " ".join(told))
        for named in runs
        if (told := sentences(named.run.info.get("conclusions", [])))
    ]
    return element("div", *said, class_="verdicts") if said else NOTHING


def scores_section(runs: Sequence[NamedRun], metric: str, drawings: list[Drawing]) -> Markup:
    """Return the metric of every run and arm by share of the labels, drawn and as a table."""
    fractions = _fractions(runs)
    if not fractions:
        return element("p", "None of these runs has a result yet.", class_="statement")
    parts = []
    if (drawing := draw_runs(runs, metric)) is not None:
        drawings.append(drawing)
        note = "Marks: means; bars: the 95 % interval of the mean, by the corrected resampled t over folds."
        parts += [figure(drawing), element("p", note, class_="note")]
    bodies = [
        element(
            "tbody",
            group(named.name, len(fractions) + 1),
            *(_scores(runs, named, line, fractions) for line in named.run.lines),
        )
        for named in runs
    ]
    note = f"Mean {metric_name(metric)} over folds; below it the lowest cell and the highest."
    shown = table("Scores of every run by share of the labels", _shares("arm", fractions), *bodies)
    return join([*parts, element("p", note, class_="note"), shown])


def _scores(runs: Sequence[NamedRun], named: NamedRun, line: Line, fractions: Sequence[float]) -> Markup:
    spreads = [spread(named.run, line, fraction) for fraction in fractions]
    values = [
        UNDEFINED if s.mean is None else _with(number(s.mean), f"{number(s.low)} to {number(s.high)}") for s in spreads
    ]
    style = styles_of(runs)[named.name, line]
    dashed = "swatch" if style.dash == "solid" else "swatch dashed"
    sample = element("span", class_=dashed, style=f"color: {VARIABLES[style.colour]}", aria_hidden="true")
    name = element("th", join([sample, line.label]), scope="row")
    return element("tr", name, *(element("td", value) for value in values))


def scratch_section(runs: Sequence[NamedRun]) -> Markup:
    """Return how far every run's arms lie from its own training from scratch."""
    fractions, bodies = _fractions(runs), []
    for named in runs:
        lines = [line for line in named.run.lines if line != SCRATCH]
        if SCRATCH in named.run.lines and lines:
            rows = (_row_to_scratch(named, line, fractions) for line in lines)
            bodies.append(element("tbody", group(named.name, len(fractions) + 1), *rows))
    if not bodies:
        return NOTHING
    note = (
        "Mean paired difference in QWK to training from scratch of the same run, with its 95 % interval, and the "
        "verdict where Holm's p drew one."
    )
    shown = table("Differences to training from scratch", _shares("arm", fractions), *bodies)
    return join([element("p", note, class_="note"), shown])


def _row_to_scratch(named: NamedRun, line: Line, fractions: Sequence[float]) -> Markup:
    values: list[object] = []
    for fraction in fractions:
        mean, low, high, verdict = estimate(named.run, line, fraction)
        interval = "" if low is None or high is None else f"{signed(low)} to {signed(high)}"
        shown = element("span", verdict, class_=f"verdict {verdict}") if verdict in ("benefit", "harm") else NOTHING
        values.append(join([_with(signed(mean), interval), shown]))
    return row(line.label, values)


def pairs_section(runs: Sequence[NamedRun], metric: str, drawings: list[Drawing]) -> Markup:
    """Return the runs against each other, fold by fold; or why that cannot be."""
    if reason := why_no_pairs(runs):
        said = (
            f"These runs cannot be compared in pairs: {reason}. What one lies above another by may be a matter of the "
            "test images; only the differences to each run's own training from scratch hold."
        )
        return element("div", element("p", element("strong", said)), class_="banner", role="note")
    pairs = run_pairs(runs, metric)
    if not pairs:
        return element("p", "The splits are the same, but no arm at any share is in two of these runs.")
    parts = []
    if (drawing := draw_pairs(pairs, metric)) is not None:
        drawings.append(drawing)
        parts.append(figure(drawing))
    names = ("labels", "difference", "95 % interval", "p (Holm)", "folds")
    bodies = [
        element(
            "tbody",
            group(pair.label, len(names)),
            *(
                row(
                    share(fraction),
                    [
                        element("strong", signed(one.delta)),
                        UNDEFINED if one.low is None else f"{signed(one.low)} to {signed(one.high)}",
                        p_value(one.p_holm),
                        count(one.folds),
                    ],
                )
                for fraction, one in pair.by_share.items()
            ),
        )
        for pair in pairs
    ]
    note = (
        f"The splits are the same. Differences in {metric_name(metric)} are paired by share, fold and repetition; the "
        "interval and p are the corrected resampled t over folds, p adjusted over the shares of a pair (Holm) and not "
        "over pairs. Whatever else differs between the runs, below, may be the cause."
    )
    titles = head(column(names[0], "text"), *map(column, names[1:]))
    return join([*parts, element("p", note, class_="note"), table("Runs in pairs", titles, *bodies)])


def settings_section(runs: Sequence[NamedRun]) -> Markup:
    """Return what differs between the runs' configurations and surroundings, and nothing that does not."""
    parts = []
    if lacking := [named.name for named in runs if named.run.config is None]:
        parts.append(element("p", f"Without a config.toml: {', '.join(lacking)}.", class_="note"))
    settings, surroundings = differing_settings(runs), differing_surroundings(runs)
    parts.append(
        _settings(runs, "Configuration", settings)
        if settings
        else element("p", "The configurations are the same, but for names.")
    )
    if surroundings:
        parts += [element("h3", "Software and hardware"), _settings(runs, "Software and hardware", surroundings)]
    return join(parts)


def _settings(runs: Sequence[NamedRun], label: str, found: Mapping[str, Sequence[str]]) -> Markup:
    titles = head(column("key", "text"), *(column(named.name, "text") for named in runs))
    rows = [
        element(
            "tr",
            element("th", element("code", key), scope="row", class_="key"),
            *(element("td", element("code", value), class_="text wrap") for value in values),
        )
        for key, values in found.items()
    ]
    return table(label, titles, element("tbody", *rows))


def runs_section(runs: Sequence[NamedRun], links: Mapping[str, str]) -> Markup:
    """Return the runs with their folders, sizes and hashes, and links to their own reports."""
    rows = []
    for named in runs:
        data = named.run.info.get("data", {})
        values = [
            moment(str(named.run.info.get("finished") or "")) or UNDEFINED,
            count(data.get("images")),
            count(len(named.run.cells)),
            element("code", str(data.get("hash") or UNDEFINED)[:12]),
            element("code", str(data.get("splits_hash") or UNDEFINED)[:12]),
        ]
        name = element("a", named.name, href=links[named.name]) if named.name in links else named.name
        rows.append(row(name, values))
    names = ("run", "finished", "images", "cells", "data hash", "splits hash")
    titles = head(column(names[0], "text"), *map(column, names[1:]))
    parts = [table("The runs", titles, element("tbody", *rows))]
    if lacking := [named.name for named in runs if named.name not in links]:
        said = f"Without a report of their own, which 'sslkit report' writes: {', '.join(lacking)}."
        parts.append(element("p", said, class_="note"))
    return join(parts)


def _shares(first: str, fractions: Sequence[float]) -> Markup:
    return head(column(first, "text"), *(column(share(fraction)) for fraction in fractions))


def _with(value: str, below: str) -> Markup:
    return join([value, element("span", below, class_="sub")], " ") if below else join([value])


def _fractions(runs: Sequence[NamedRun]) -> list[float]:
    return sorted({fraction for named in runs for fraction in named.run.fractions})
