"""Assembles the comparison of runs and writes it: one HTML file that needs no network, its figures beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from sslkit.errors import UsageError
from sslkit.experiment.sentences import together
from sslkit.files import write_text
from sslkit.report.figures import Drawing
from sslkit.report.folder import INDEX, check_report_folder, write_drawings
from sslkit.report.markup import Markup, element, join
from sslkit.report.page import page
from sslkit.report.side_by_side.named import NamedRun, read_runs
from sslkit.report.side_by_side.pairs import same_data, why_no_pairs
from sslkit.report.side_by_side.sections import (
    conclusions,
    pairs_section,
    runs_section,
    scores_section,
    scratch_section,
    settings_section,
)
from sslkit.report.text import metric_name, plural


def compare_runs(run_directories: Sequence[Path], output: Path) -> Path:
    """Write a page that sets runs side by side, with its figures, from their run directories alone.

    Runs with the same splits are compared with each other in pairs, fold by fold; others only each with its own
    training from scratch. The same files give the same bytes.

    Args:
        run_directories: two or more that ``sslkit run`` wrote, on the same classes.
        output: the folder for the page, new, empty or with an earlier one.

    Returns:
        The path of index.html.

    Raises:
        sslkit.errors.RunDirectoryError: if a directory or one of its tables is missing or malformed.
        sslkit.errors.UsageError: if there are fewer than two runs, one is given twice, their classes differ, or
            ``output`` holds anything but an earlier comparison.
    """
    runs = read_runs(run_directories)
    for named in runs:
        if output.resolve() == (named.run.directory / "report").resolve():
            raise UsageError(f"{output} is the report of one of the runs; give --output a folder of its own")
    check_report_folder(output)
    drawings: list[Drawing] = []
    text = _page(runs, output, drawings)
    write_drawings(output, drawings)
    write_text(output / INDEX, text)
    return output / INDEX


def _page(runs: Sequence[NamedRun], output: Path, drawings: list[Drawing]) -> str:
    metric = _common_metric(runs)
    runs = [named.led_by(metric) for named in runs]
    sections = [
        ("scores", "Scores", scores_section(runs, metric, drawings)),
        ("scratch", "Against training from scratch", scratch_section(runs)),
        ("pairs", "Run against run", pairs_section(runs, metric, drawings)),
        ("settings", "What differs", settings_section(runs)),
        ("runs", "The runs", runs_section(runs, dict(_links(runs, output)))),
    ]
    shown = [section for section in sections if section[2]]
    links = join(element("li", element("a", name, href=f"#{id_}")) for id_, name, _ in shown)
    parts = [element("section", element("h2", name), content, id_=id_) for id_, name, content in shown]
    names = [named.name for named in runs]
    header = join(
        [
            element("p", "sslkit comparison", class_="eyebrow"),
            element("h1", together(names)),
            element("p", _lead(runs, metric), class_="lead"),
            *_banners(runs),
            conclusions(runs),
        ]
    )
    footer = f"Made by sslkit from the files of {plural(len(runs), 'run')}. Beside it: the figures as SVG and PNG."
    return page(f"{together(names)} · sslkit comparison", header, join(parts, "\n"), footer, links)


def _common_metric(runs: Sequence[NamedRun]) -> str:
    """Return the metric that all runs lead with; QWK, which all have, where they lead with different ones."""
    metrics = {named.run.metric for named in runs}
    return metrics.pop() if len(metrics) == 1 else "qwk"


def _lead(runs: Sequence[NamedRun], metric: str) -> str:
    data = {True: "the same data", False: "different data", None: "data of which it is not known whether they agree"}
    splits = "different splits" if why_no_pairs(runs) else "the same splits"
    return f"{plural(len(runs), 'run')} side by side, by {metric_name(metric)}: {data[same_data(runs)]}, {splits}."


def _banners(runs: Sequence[NamedRun]) -> Iterator[Markup]:
    told: dict[str, list[str]] = {}
    for named in runs:
        info = named.run.info
        for notice in info.get("notices", []):
            told.setdefault(notice, []).append(named.name)
        if info.get("transductive"):
            told.setdefault("Transductive: the pretraining saw the test images.", []).append(named.name)
    said = [f"{'' if len(names) == len(runs) else f'{together(names)}: '}{notice}" for notice, names in told.items()]
    said += [
        f"{named.name}: {plural(len(failed), 'job')} failed; its own report says which."
        for named in runs
        if (failed := named.run.info.get("failed_jobs"))
    ]
    for sentence in said:
        yield element("div", element("p", element("strong", sentence)), class_="banner", role="note")


def _links(runs: Sequence[NamedRun], output: Path) -> Iterator[tuple[str, str]]:
    """Yield the relative address of each run's own report, where it has one."""
    for named in runs:
        index = named.run.directory / "report" / INDEX
        if index.is_file():
            try:
                relative = os.path.relpath(index.resolve(), output.resolve())
            except ValueError:  # on another drive
                continue
            yield named.name, quote(Path(relative).as_posix())
