"""Assembles the report and writes it: one HTML file that needs no network; its figures and cards beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sslkit.files import make_folder, write_text
from sslkit.report.cards import write_cards
from sslkit.report.figures import (
    Drawing,
    draw_confusion,
    draw_convergence,
    draw_differences,
    draw_pretraining,
    draw_reliability,
    draw_scores,
)
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.page import page
from sslkit.report.sections.audit import audit_section
from sslkit.report.sections.opening import MOST_STATEMENTS, facts, headline, opening, title
from sslkit.report.sections.pictures import mistakes_section, views_section
from sslkit.report.sections.pretraining import collapse_banner, kept_epochs, spread_note
from sslkit.report.sections.provenance import data_section, provenance_section
from sslkit.report.sections.representation import representation_section
from sslkit.report.sections.scores import (
    calibration_table,
    legend,
    recall_table,
    referable_table,
    score_table,
)
from sslkit.report.sections.tasks import NUM_SHARES, compared_lines, tasks_table
from sslkit.report.tables import Run, read_run
from sslkit.report.text import plural, share


def write_report(run_directory: Path) -> Path:
    """Write ``report/index.html``, figures, model card and checklist from the files of a run directory.

    The same files give the same bytes. Each file is replaced whole or not at all.

    Args:
        run_directory: what ``sslkit run`` wrote.

    Returns:
        The path of index.html.

    Raises:
        sslkit.errors.RunDirectoryError: if the directory or one of its tables is missing or malformed.
    """
    run = read_run(run_directory)
    text, drawings = _page(run)
    folder = run_directory / "report"
    make_folder(folder)
    for drawing in drawings:
        write_text(folder / f"{drawing.name}.svg", drawing.standalone)
    index = folder / "index.html"
    write_text(index, text)
    drawn = {f"{drawing.name}.svg" for drawing in drawings}
    for earlier in folder.glob("*.svg"):
        if earlier.name not in drawn:  # of arms or shares that the run has no more
            earlier.unlink()
    write_cards(run)
    return index


def _page(run: Run) -> tuple[str, list[Drawing]]:
    drawings: list[Drawing] = []
    sections = [
        ("measured", "What was measured", _measured(run, drawings)),
        ("convergence", "Convergence", _convergence(run, drawings)),
        ("pretraining", "Pretraining", _pretraining(run, drawings)),
        ("views", "What the pretext task sees", views_section(run)),
        ("representation", "Representation", representation_section(run, drawings)),
        ("confusion", "Confusion", _confusion(run, drawings)),
        ("mistakes", "Worst mistakes", mistakes_section(run)),
        ("grades", "Grades", _grades(run)),
        ("reliability", "Reliability", _reliability(run, drawings)),
        ("data", "Data", data_section(run)),
        ("audit", "Audit", audit_section(run)),
        ("provenance", "Provenance", provenance_section(run)),
    ]
    shown = [section for section in sections if section[2]]
    links = (element("li", element("a", name, href=f"#{id_}")) for id_, name, _ in shown)
    parts = [element("section", element("h2", name), content, id_=id_) for id_, name, content in shown]
    navigation = element("nav", element("ul", *links), aria_label="Sections")
    version = run.info.get("versions", {}).get("sslkit", "")
    footer = join(
        [
            f"Made by sslkit {version} from the files of this run. Beside it: ",
            element("code", "model_card.html"),
            ", a reporting checklist in ",
            element("code", "checklist.html"),
            ", and the figures as SVG.",
        ]
    )
    header = join([opening(run), facts(run), navigation])
    return page(f"{title(run)} · sslkit report", header, join(parts, "\n"), footer), drawings


def _measured(run: Run, drawings: list[Drawing]) -> Markup:
    if not run.cells:
        return element("p", "No cell of this run has a result yet: results.csv has no rows.", class_="statement")
    parts = [headline(run), _tasks(run, drawings)]
    if len(run.lines) > MOST_STATEMENTS:
        return join([*parts, element("details", element("summary", "Scores of every arm"), score_table(run))])
    drawing = draw_scores(run)
    drawings.append(drawing)
    note = (
        "Large marks: means. Small dots: single cells. Bars and bands: from the lowest cell to the highest. "
        "The axis of shares is logarithmic."
    )
    return join([*parts, score_table(run), _figure(drawing), element("p", note, class_="note")])


def _tasks(run: Run, drawings: list[Drawing]) -> Markup:
    lines = compared_lines(run)
    if not lines:
        return NOTHING
    fractions = run.fractions[:NUM_SHARES]
    parts = []
    if drawing := draw_differences(run, lines, fractions):
        drawings.append(drawing)
        parts.append(_figure(drawing))
    return join([*parts, tasks_table(run, lines, fractions)])


def _figure(drawing: Drawing) -> Markup:
    both = (element("div", drawing.inline, class_="wide"), element("div", drawing.narrow, class_="narrow"))
    return element("figure", element("figcaption", drawing.title), *both)


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
        parts += [element("h3", task), collapse_banner(run, task), _panels(panels)]
        parts += [spread_note(run, task), kept_epochs(run, task)]
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


def _reliability(run: Run, drawings: list[Drawing]) -> Markup:
    panels = draw_reliability(run)
    if not panels:
        return NOTHING
    drawings += panels
    note = (
        "How often the predicted grade is right, by the probability that it was given; test images of all folds, the "
        "area of a mark their number. On the dotted diagonal probabilities mean what they say; below it the network is "
        "too sure of itself, above it not sure enough."
    )
    return join([element("p", note, class_="note"), legend(run), _panels(panels), calibration_table(run)])


def _panels(drawings: Sequence[Drawing]) -> Markup:
    return element(
        "div", *(element("figure", element("figcaption", d.title), d.inline) for d in drawings), class_="panels"
    )
