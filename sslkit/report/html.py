"""Assembles the report and writes it: one HTML file that needs no network, and its figures as SVG beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sslkit.files import write_text
from sslkit.report.figures import Drawing, draw_confusion, draw_convergence, draw_pretraining, draw_scores
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.audit import audit_section
from sslkit.report.sections.opening import facts, headline, opening, title
from sslkit.report.sections.provenance import data_section, provenance_section
from sslkit.report.sections.scores import legend, recall_table, referable_table, score_table
from sslkit.report.tables import Run, read_run
from sslkit.report.text import plural, share
from sslkit.report.theme import STYLE_SHEET

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content security policy: the page loads nothing and runs nothing, whatever a class or a file is called."""


def write_report(run_directory: Path) -> Path:
    """Write ``report/index.html`` and ``report/*.svg`` from the files of a run directory.

    The same files give the same bytes. Each file is replaced whole or not at all.

    Args:
        run_directory: what ``sslkit run`` wrote.

    Returns:
        The path of index.html.

    Raises:
        sslkit.errors.RunDirectoryError: if the directory or one of its tables is missing or malformed.
    """
    run = read_run(run_directory)
    page, drawings = _page(run)
    folder = run_directory / "report"
    for drawing in drawings:
        write_text(folder / f"{drawing.name}.svg", drawing.standalone)
    index = folder / "index.html"
    write_text(index, page)
    drawn = {f"{drawing.name}.svg" for drawing in drawings}
    for earlier in folder.glob("*.svg"):
        if earlier.name not in drawn:  # of arms or shares that the run has no more
            earlier.unlink()
    return index


def _page(run: Run) -> tuple[str, list[Drawing]]:
    drawings: list[Drawing] = []
    sections = [
        ("measured", "What was measured", _measured(run, drawings)),
        ("convergence", "Convergence", _convergence(run, drawings)),
        ("pretraining", "Pretraining", _pretraining(run, drawings)),
        ("confusion", "Confusion", _confusion(run, drawings)),
        ("grades", "Grades", _grades(run)),
        ("data", "Data", data_section(run)),
        ("audit", "Audit", audit_section(run)),
        ("provenance", "Provenance", provenance_section(run)),
    ]
    shown = [section for section in sections if section[2]]
    links = (element("li", element("a", name, href=f"#{id_}")) for id_, name, _ in shown)
    head = join(
        [
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name_="color-scheme", content="light dark"),
            element("title", f"{title(run)} · sslkit report"),
            element("style", Markup(STYLE_SHEET)),
        ],
        "\n",
    )
    parts = [element("section", element("h2", name), content, id_=id_) for id_, name, content in shown]
    navigation = element("nav", element("ul", *links), aria_label="Sections")
    version = run.info.get("versions", {}).get("sslkit", "")
    body = [
        element("header", opening(run), facts(run), navigation),
        element("main", join(parts, "\n")),
        element(
            "footer",
            f"Made by sslkit {version} from the files of this run. The figures are also in this folder, as SVG.",
        ),
    ]
    html = element("html", element("head", head), "\n", element("body", *body), lang="en")
    return f"<!DOCTYPE html>\n{html}\n", drawings


def _measured(run: Run, drawings: list[Drawing]) -> Markup:
    if not run.cells:
        return element("p", "No cell of this run has a result yet: results.csv has no rows.", class_="statement")
    drawing = draw_scores(run)
    drawings.append(drawing)
    caption = element("figcaption", drawing.title)
    both = (element("div", drawing.inline, class_="wide"), element("div", drawing.narrow, class_="narrow"))
    note = (
        "Large marks: means. Small dots: single cells. Bars and bands: from the lowest cell to the highest. "
        "The axis of shares is logarithmic."
    )
    return join([headline(run), score_table(run), element("figure", caption, *both), element("p", note, class_="note")])


def _convergence(run: Run, drawings: list[Drawing]) -> Markup:
    panels = draw_convergence(run)
    if not panels:
        return NOTHING
    drawings += panels
    note = "Scores of the test folds while fine-tuning: means over cells. Nothing is chosen by these curves."
    return join([element("p", note, class_="note"), legend(run), _panels(panels)])


def _pretraining(run: Run, drawings: list[Drawing]) -> Markup:
    tasks = draw_pretraining(run)
    if not tasks:
        return NOTHING
    parts = [element("p", "Loss and metrics of the pretext task by epoch; one line a pretraining.", class_="note")]
    for task, panels in tasks.items():
        drawings += panels
        parts += [element("h3", task), _panels(panels)]
    return join(parts)


def _confusion(run: Run, drawings: list[Drawing]) -> Markup:
    by_share, missing = draw_confusion(run)
    note = "Test images of all folds together. The number is the count; the colour its share of the true class."
    parts = [element("p", note, class_="note")] if by_share else []
    for fraction, panels in by_share.items():
        drawings += panels
        parts += [element("h3", f"{share(fraction)} of the labels"), _panels(panels)]
    if missing:
        cells = f"{plural(len(missing), 'cell')}, whose predictions.csv is missing"
        said = f"Without the predictions of {cells}: {', '.join(missing)}."
        parts.append(element("p", said, class_="note"))
    return join(parts)


def _grades(run: Run) -> Markup:
    if not run.cells:
        return NOTHING
    parts = [recall_table(run)]
    if (table := referable_table(run)) is not None:
        parts += [element("h3", "Referable cases"), table]
    return join(parts)


def _panels(drawings: Sequence[Drawing]) -> Markup:
    return element(
        "div", *(element("figure", element("figcaption", d.title), d.inline) for d in drawings), class_="panels"
    )
