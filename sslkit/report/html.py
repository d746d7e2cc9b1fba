"""Assembles the report and writes it: one HTML file that needs no network; its figures and cards beside it."""

from __future__ import annotations

from pathlib import Path

from sslkit.files import write_text
from sslkit.report.cards import write_cards
from sslkit.report.figures import Drawing
from sslkit.report.folder import INDEX, check_report_folder, write_drawings
from sslkit.report.markup import element, join
from sslkit.report.page import page
from sslkit.report.sections.audit import audit_section
from sslkit.report.sections.grades import confusion_section, grades_section, reliability_section
from sslkit.report.sections.measured import measured_section
from sslkit.report.sections.opening import facts, opening, title
from sslkit.report.sections.pictures import mistakes_section, views_section
from sslkit.report.sections.provenance import data_section, provenance_section
from sslkit.report.sections.representation import representation_section
from sslkit.report.sections.training import convergence_section, pretraining_section
from sslkit.report.tables import Run, read_run


def write_report(run_directory: Path, output: Path | None = None) -> Path:
    """Write ``index.html``, figures, model card and checklist from the files of a run directory.

    The same files give the same bytes. Each file is replaced whole or not at all.

    Args:
        run_directory: what ``sslkit run`` wrote.
        output: the folder for the report, new, empty or with an earlier report; by default ``report`` in the run
            directory.

    Returns:
        The path of index.html.

    Raises:
        sslkit.errors.RunDirectoryError: if the directory or one of its tables is missing or malformed.
        sslkit.errors.UsageError: if ``output`` holds anything but an earlier report.
    """
    run = read_run(run_directory)
    if output is not None:
        check_report_folder(output)
    folder = output or run_directory / "report"
    text, drawings = _page(run)
    write_drawings(folder, drawings)
    index = folder / INDEX
    write_text(index, text)
    write_cards(run, folder)
    return index


def _page(run: Run) -> tuple[str, list[Drawing]]:
    drawings: list[Drawing] = []
    sections = [
        ("measured", "What was measured", measured_section(run, drawings)),
        ("convergence", "Convergence", convergence_section(run, drawings)),
        ("pretraining", "Pretraining", pretraining_section(run, drawings)),
        ("views", "What the pretext task sees", views_section(run)),
        ("representation", "Representation", representation_section(run, drawings)),
        ("confusion", "Confusion", confusion_section(run, drawings)),
        ("mistakes", "Worst mistakes", mistakes_section(run)),
        ("grades", "Grades", grades_section(run, drawings)),
        ("reliability", "Reliability", reliability_section(run, drawings)),
        ("data", "Data", data_section(run)),
        ("audit", "Audit", audit_section(run)),
        ("provenance", "Provenance", provenance_section(run)),
    ]
    shown = [section for section in sections if section[2]]
    links = join(element("li", element("a", name, href=f"#{id_}")) for id_, name, _ in shown)
    parts = [element("section", element("h2", name), content, id_=id_) for id_, name, content in shown]
    version = run.info.get("versions", {}).get("sslkit", "")
    footer = join(
        [
            f"Made by sslkit {version} from the files of this run. Beside it: ",
            element("code", "model_card.html"),
            ", a reporting checklist in ",
            element("code", "checklist.html"),
            ", and the figures as SVG and PNG.",
        ]
    )
    header = join([opening(run), facts(run)])
    return page(f"{title(run)} · sslkit report", header, join(parts, "\n"), footer, links), drawings
