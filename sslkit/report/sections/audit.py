"""What the audit found: duplicates, conflicting grades, and what gives an answer away without any anatomy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.scores import scroll
from sslkit.report.tables import Run
from sslkit.report.text import count, number, plural


def audit_section(run: Run) -> Markup:
    """Return what audit.json says; nothing where the run has none."""
    if not run.audit:
        return NOTHING
    return join([*_leaks(run.audit), *_duplicates(run.audit["duplicates"], run.audit["groups"]), *_probes(run.audit)])


def _leaks(audit: Mapping[str, Any]) -> Iterator[Markup]:
    for task, probes in audit["pretext_probes"].items():
        leaks = [probe for probe in probes if probe["leak"]]
        if leaks:
            found = ", ".join(f"the {probe['region']} ({100 * probe['accuracy']:.0f} %)" for probe in leaks)
            text = (
                f"The answers of {task} can be found without any anatomy, from {found} alone. For fundus photographs, "
                'images.crop = "fundus" keeps the same circle of every image.'
            )
            yield element("div", element("p", element("strong", text)), class_="banner alarm", role="note")


def _duplicates(duplicates: Mapping[str, Any], groups: Mapping[str, Any]) -> Iterator[Markup]:
    identical, near = len(duplicates["identical"]), len(duplicates["near"])
    yield element("h3", "Duplicates and groups")
    yield element(
        "p",
        f"{plural(identical, 'set')} of identical images and {plural(near, 'pair')} of near-identical ones, of "
        f"{count(duplicates['compared'])} pairs compared ({duplicates['method']}). They stay on one side of every "
        f"split: {count(groups['given'])} given groups became {count(groups['joined'])}, the largest of "
        f"{plural(groups['largest'], 'image')}. In {plural(groups['with_several_grades'], 'group')} grades differ.",
    )
    if conflicts := duplicates["conflicts"]:
        items = [
            element("li", element("code", ", ".join(item["images"])), f": grades {', '.join(map(str, item['grades']))}")
            for item in conflicts
        ]
        said = f"{plural(len(conflicts), 'duplicate')} whose grades disagree"
        yield element("details", element("summary", said), element("ul", *items))


def _probes(audit: Mapping[str, Any]) -> Iterator[Markup]:
    rows = [
        element(
            "tr",
            element("th", f"{task}: {probe['region']}", scope="row"),
            element("td", f"{100 * probe['accuracy']:.1f} %"),
            element("td", f"{100 * probe['low']:.1f} to {100 * probe['high']:.1f} %"),
            element("td", f"{100 * probe['chance']:.1f} %"),
            element("td", "leak" if probe["leak"] else "none found", class_="text"),
        )
        for task, probes in audit["pretext_probes"].items()
        for probe in probes
    ]
    if rows:
        names = ("what the probe sees", "answers found", "95 % interval", "chance", "shortcut")
        head = element("thead", element("tr", *(element("th", name, scope="col") for name in names)))
        yield element("h3", "Shortcuts")
        said = "What small linear models find of a pretext task's answers where no anatomy is."
        yield element("p", said, class_="note")
        yield scroll(element("table", head, element("tbody", *rows)), label="Shortcut probes")
    probe = audit["label_probe"]
    if probe is not None and probe["qwk"] is not None:
        auroc = "" if probe["auroc"] is None else f" and a referable AUROC of {number(probe['auroc'])}"
        yield element(
            "p",
            element("strong", f"The figure to beat: QWK {number(probe['qwk'])}{auroc}"),
            " is what a linear model reaches, on the same folds and with all labels, from global statistics of the "
            "photographs alone: field of view, colours, sharpness, file size.",
        )
