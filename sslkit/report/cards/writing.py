"""Writes the model card and the checklist as JSON, and as pages that look like the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from sslkit.files import write_json, write_text
from sslkit.report.cards.checklist import Answer, checklist
from sslkit.report.cards.facts import NO_DEVICE, NOT_PROVIDED, Facts
from sslkit.report.cards.model_card import Section, model_card
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.page import page
from sslkit.report.sections.scores import difference_table, score_table
from sslkit.report.sections.table import pairs_table
from sslkit.report.tables import Run


def write_cards(run: Run, folder: Path) -> list[Path]:
    """Write ``model_card`` and ``checklist``, each as .json and .html, into a folder."""
    facts = Facts(run)
    sections, answers = model_card(facts), checklist(facts)
    card = {title: dict(entries) for title, entries in sections}
    write_json(folder / "model_card.json", {**card, "Results by share": facts.differences()})
    write_text(folder / "model_card.html", _model_card_page(facts, sections))
    write_json(folder / "checklist.json", [asdict(answer) for answer in answers])
    write_text(folder / "checklist.html", _checklist_page(facts, answers))
    return [folder / f"{name}.{kind}" for name in ("model_card", "checklist") for kind in ("json", "html")]


def _model_card_page(facts: Facts, sections: list[Section]) -> str:
    name = str(facts.info.get("name") or facts.run.directory.name)
    header = join(
        [
            element("p", "sslkit model card", class_="eyebrow"),
            element("h1", name),
            element("div", element("p", element("strong", NO_DEVICE)), class_="banner", role="note"),
        ]
    )
    parts = [
        element(
            "section",
            element("h2", title),
            pairs_table(_shown(entries), title),
            _scores(facts.run) if title == "Results" else NOTHING,
        )
        for title, entries in sections
    ]
    return page(f"{name} · model card", header, join(parts, "\n"), _footer())


def _checklist_page(facts: Facts, answers: list[Answer]) -> str:
    name = str(facts.info.get("name") or facts.run.directory.name)
    counts = Counter(answer.status for answer in answers)
    lead = (
        "An aid for authors after TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), in our own words; it is not the "
        f"official form. Of {len(answers)} items {counts['filled from the run']} are filled from the run, "
        f"{counts['stated in [card]']} stated in the configuration's table [card], {counts['not applicable']} not "
        f"applicable and {counts['not provided']} not provided."
    )
    header = join(
        [
            element("p", "sslkit reporting checklist", class_="eyebrow"),
            element("h1", name),
            element("p", lead, class_="lead"),
        ]
    )
    sections: dict[str, list[Answer]] = {}
    for answer in answers:
        sections.setdefault(answer.topic, []).append(answer)
    parts = [
        element(
            "section",
            element("h2", topic),
            pairs_table(_shown((f"{a.item}: {a.asks}", a.answer) for a in group), topic),
        )
        for topic, group in sections.items()
    ]
    return page(f"{name} · checklist", header, join(parts, "\n"), _footer())


def _scores(run: Run) -> Markup:
    return join([score_table(run), difference_table(run)]) if run.cells else NOTHING


def _shown(entries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, object]]:
    """Yield entries, those that nobody has provided marked as such."""
    for name, value in entries:
        yield name, element("em", value, class_="note") if value == NOT_PROVIDED else value


def _footer() -> str:
    return (
        "Made by sslkit from the files of this run and from the table [card] of its configuration; nothing here is "
        "claimed that neither says."
    )
