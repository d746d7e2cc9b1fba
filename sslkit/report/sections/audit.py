"""What the audit found: duplicates, conflicting grades, and what gives an answer away without any anatomy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.sections.table import column, head, pairs_table, table
from sslkit.report.tables import Run
from sslkit.report.text import count, number, plural

_MOST_LISTED = 20
"""Names that a list shows, at most."""


def audit_section(run: Run) -> Markup:
    """Return what audit.json says; nothing where the run has none."""
    if not run.audit:
        return NOTHING
    audit = run.audit
    return join(
        [
            *_leaks(audit),
            *_images(audit.get("images", {})),
            *_duplicates(audit["duplicates"], audit["groups"]),
            *_probes(audit),
        ]
    )


def _leaks(audit: Mapping[str, Any]) -> Iterator[Markup]:
    for task, probes in audit["pretext_probes"].items():
        leaks = [probe for probe in probes if probe["leak"]]
        if leaks:
            found = ", ".join(f"the {probe['region']} ({100 * probe['accuracy']:.0f} %)" for probe in leaks)
            text = (
                f"The answers of {task} can be told from {found} of its views alone. Where a frame or a shutter shows "
                'there, that is a shortcut: for fundus photographs, images.crop = "fundus" keeps the same circle of '
                "every image. The edges of tiles, which are cut from within, show tissue too."
            )
            yield element("div", element("p", element("strong", text)), class_="banner alarm", role="note")


def _images(images: Mapping[str, Any]) -> Iterator[Markup]:
    if not images:
        return
    yield element("h3", "Images")
    kinds = [
        (name, ", ".join(f"{value} ({count(number)})" for value, number in images[key].items()))
        for name, key in (("formats", "formats"), ("modes", "modes"), ("bits a channel", "bit_depths"))
    ]
    spreads = [
        (name, _spread(images[key], digits))
        for name, key, digits in (
            ("width, px", "width", 0),
            ("height, px", "height", 0),
            ("width by height", "aspect", 2),
        )
    ]
    yield pairs_table([*kinds, *spreads], "Images")
    for key, what in (
        ("tiny", "smaller than the size they are brought to"),
        ("constant", "of one colour"),
        ("truncated", "cut off, and left out"),
    ):
        yield from _listed(images[key], len(images[key]), what)
    yield from _listed(images["unlisted"], images["unlisted_count"], "without a row in the table")


def _spread(values: Mapping[str, float], digits: int) -> str:
    low, middle, high = (f"{values[key]:,.{digits}f}" for key in ("min", "median", "max"))
    return f"{low} to {high}, median {middle}"


def _listed(names: Sequence[str], total: int, what: str) -> Iterator[Markup]:
    if not total:
        return
    items = [element("li", element("code", name)) for name in names[:_MOST_LISTED]]
    if total > len(items):
        items.append(element("li", f"and {count(total - len(items))} more"))
    yield element("details", element("summary", f"{plural(total, 'image')} {what}"), element("ul", *items))


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
        titles = [column("what the probe sees", "text")]
        titles += [*map(column, ("answers found", "95 % interval", "chance")), column("shortcut", "text")]
        yield element("h3", "Shortcuts")
        said = "What small linear models find of a pretext task's answers at the edges of its views."
        yield element("p", said, class_="note")
        yield table("Shortcut probes", head(*titles), element("tbody", *rows))
    probe = audit["label_probe"]
    if probe is not None and probe["qwk"] is not None:
        auroc = "" if probe["auroc"] is None else f" and a referable AUROC of {number(probe['auroc'])}"
        yield element(
            "p",
            element("strong", f"The figure to beat: QWK {number(probe['qwk'])}{auroc}"),
            " is what a linear model reaches, on the same folds and with all labels, from global statistics of the "
            "photographs alone: field of view, colours, sharpness, file size.",
        )
