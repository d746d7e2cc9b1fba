"""The top of the page: what was run, what the reader must know first, and what was concluded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sslkit.experiment.sentences import sentences, together
from sslkit.report.comparison import SCRATCH, paired_difference, select, spread
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.pretraining import collapse_banner
from sslkit.report.tables import Line, Run
from sslkit.report.text import count, duration, metric_name, moment, number, plural, share, signed

MOST_STATEMENTS = 5
"""Lines that plain sentences are made of; more are better read in a table."""


def title(run: Run) -> str:
    """Return the run's name."""
    return str(run.info.get("name") or run.directory.name)


def opening(run: Run) -> Markup:
    """Return the title, one line on what was run, the banners, and the verdicts."""
    finished = run.info.get("finished")
    when = f" · {moment(str(finished))}" if finished else ""
    return join(
        [
            element("p", f"sslkit report{when}", class_="eyebrow"),
            element("h1", title(run)),
            element("p", _description(run), class_="lead"),
            *_banners(run),
            verdicts(run),
        ]
    )


def facts(run: Run) -> Markup:
    """Return the run's size in a few numbers."""
    data, timings = run.info.get("data", {}), run.info.get("timings", {})
    pairs = [
        ("images", data.get("images")),
        ("labelled", data.get("labelled")),
        ("groups", data.get("groups")),
        ("folds", len({cell.fold for cell in run.cells})),
        ("cells", len(run.cells)),
    ]
    shown = [(name, count(value)) for name, value in pairs if value is not None]
    if "total" in timings:
        shown.append(("in all", duration(float(timings["total"]))))
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in shown), class_="facts"
    )


def verdicts(run: Run) -> Markup:
    """Return what was concluded, in a sentence each, and the flags of what makes it worth little."""
    said = [element("p", sentence) for sentence in sentences(run.info.get("conclusions", []))]
    flags = [collapse_banner(run, task) for task in dict.fromkeys(line.pretext for line in run.lines if line.pretext)]
    return join([element("div", *said, class_="verdicts") if said else NOTHING, *flags])


def headline(run: Run) -> Markup:
    """Return plain sentences on the smallest and the largest share, and what they rest on."""
    ends = list(dict.fromkeys(run.fractions[:1] + run.fractions[-1:]))
    caution = (
        "Folds share most of their training images, so their spread understates how much another run could differ."
        if len({cell.fold for cell in run.cells}) > 1
        else "One fold was tested: how much another would differ is not known."
    )
    basis = (
        "A benefit or a harm is claimed where the corrected resampled t over folds (Nadeau and Bengio 2003), adjusted "
        "over the shares (Holm), has p below 0.05."
        if run.info.get("conclusions")
        else "These numbers describe this run. No significance test is drawn from them."
    )
    statements = [_statement(run, fraction) for fraction in ends] if len(run.lines) <= MOST_STATEMENTS else []
    return join([*statements, element("p", f"{basis} {caution}", class_="note")])


def _description(run: Run) -> str:
    words = {"pretext": "pretext task", "dataset": "data set"}
    kinds: dict[str, list[str]] = {}
    for plugin in run.info.get("plugins", []):
        kind = str(plugin.get("kind", "")).replace("_", "-").split("-")[0]
        if kind in ("pretext", "backbone", "head", "downstream", "dataset", "data") and "part_of" not in plugin:
            kinds.setdefault(words.get(kind, kind), []).append(str(plugin.get("name", "")))
    question = "What is pretraining worth here, in labels?"
    parts = [f"{kind}{'s' if len(names) > 1 else ''} {together(names)}" for kind, names in kinds.items()]
    return f"{question} Measured with {', '.join(parts)}." if parts else question


def _banners(run: Run) -> Iterator[Markup]:
    for notice in run.info.get("notices", []):
        yield element("div", element("p", element("strong", notice)), class_="banner", role="note")
    if run.info.get("transductive"):
        text = (
            "Transductive: the pretraining saw every image, those of the test folds included, though no label. "
            "Scores on images that it has never seen may be lower."
        )
        yield element("div", element("p", element("strong", text)), class_="banner", role="note")
    if failed := run.info.get("failed_jobs", []):
        jobs = [element("li", element("code", job.get("job", "")), ": ", job.get("reason", "")) for job in failed]
        said = element("p", element("strong", f"{plural(len(failed), 'job')} failed; what follows goes without."))
        list_ = element("ul", *jobs, class_="plain")
        yield element("div", said, *_lacking(failed), list_, class_="banner alarm", role="note")


def _lacking(failed: Iterable[Mapping[str, Any]]) -> Iterator[Markup]:
    cells = Counter((Line(job["pretext"], job["arm"]).label, job["fraction"]) for job in failed if "arm" in job)
    if cells:
        said = "; ".join(f"{label} at {share(fraction)}: {total}" for (label, fraction), total in cells.items())
        yield element("p", f"Cells that are lacking, by arm and share of the labels: {said}.")


def _statement(run: Run, fraction: float) -> Markup:
    metric = metric_name(run.metric)
    labels = next((row.labels for row in run.summaries if row.fraction == fraction and row.labels is not None), None)
    place = f"With {share(fraction)} of the labels" + (f" ({count(labels)} images)" if labels is not None else "")
    scratch = spread(run, SCRATCH, fraction).mean
    others = [line for line in run.lines if line != SCRATCH and select(run, line, fraction)]
    lead = f"{place}, training from scratch reached a mean {metric} of {number(scratch)}"
    if not select(run, SCRATCH, fraction):
        lead = f"{place}, there is no cell from scratch to compare with; by mean {metric}"
    if not others:
        return element("p", lead, ".", class_="statement")
    if len(others) == 1:
        return element("p", lead, "; ", _outcome(run, others[0], fraction), ".", class_="statement")
    items = [element("li", _outcome(run, line, fraction), ".") for line in others]
    return join([element("p", lead, ":", class_="statement"), element("ul", *items, class_="outcomes")])


def _outcome(run: Run, line: Line, fraction: float) -> Markup:
    name = element("strong", line.label)
    reached = number(spread(run, line, fraction).mean)
    difference = paired_difference(run, line, fraction)
    folds = len(difference.by_fold)
    above = sum(value > 0 for value in difference.by_fold.values())
    if SCRATCH not in run.lines:
        return join([name, f" reached {reached}"])
    if difference.mean is None:
        return join([name, f" reached {reached}, with no defined pair to compare"])
    mean = element("strong", signed(difference.mean))
    if folds == 1:
        return join([name, f" reached {reached}, a paired difference of ", mean, " in the one fold"])
    return join(
        [
            name,
            f" reached {reached}, a mean paired difference of ",
            mean,
            f"{_interval(run, line, fraction)} over {folds} folds, above zero in {above} of them",
        ]
    )


def _interval(run: Run, line: Line, fraction: float) -> str:
    """Return the interval of a difference in brackets; it is one of QWK, and stands behind no other metric."""
    summary = run.summary(line, fraction)
    low, high = (summary.scores.get(f"delta_{end}") if summary else None for end in ("low", "high"))
    if run.metric != "qwk" or low is None or high is None:
        return ""
    return f" (95\N{NO-BREAK SPACE}% interval {signed(low)} to {signed(high)})"
