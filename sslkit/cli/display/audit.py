"""What ``sslkit doctor`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sslkit.cli.display.console import line, make_console
from sslkit.cli.display.plan import NO_GROUPS

if TYPE_CHECKING:
    from sslkit.experiment.audit import Audit


def show_audit(audit: Audit) -> None:
    """Print what the audit of a data set found."""
    console = make_console()
    images, duplicates, groups = audit.images, audit.duplicates, audit.groups
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts = (_counts(images[key]) for key in ("formats", "modes", "bit_depths"))
    sizes = (f"{images[key]['min']:.0f} to {images[key]['max']:.0f}" for key in ("width", "height"))
    for key, value in {
        "images": "; ".join((*counts, f"{' x '.join(sizes)} px")),
        "odd": f"{len(images['tiny'])} smaller than they are brought to, {len(images['constant'])} of one colour, "
        f"{len(images['truncated'])} cut off, {images['unlisted_count']} without a row",
        "unreadable": str(len(audit.unreadable)),
        "duplicates": f"{len(duplicates['identical'])} sets identical, {len(duplicates['near'])} pairs near-identical "
        f"({duplicates['compared']} pairs compared, {duplicates['rejected']} refuted by their pixels)",
        "conflicts": f"{len(duplicates['conflicts'])} of them with different grades",
        "groups": f"{groups['given']} given, {groups['joined']} once duplicates are joined; the largest has "
        f"{groups['largest']} images; {groups['with_several_grades']} have several grades",
    }.items():
        table.add_row(key, line(value))
    console.print(table)
    if groups["given"] == sum(images["formats"].values()):
        console.print(f"note: {NO_GROUPS}")
    for conflict in duplicates["conflicts"]:
        console.print(line(f"conflict: {', '.join(conflict['images'])} have grades {conflict['grades']}"))
    for item in audit.unreadable:
        console.print(line(f"unreadable: {item['id']}: {item['reason']}"))
    for sentence in audit.classes["missing"]:
        console.print(line(f"note: {sentence}"))
    for task, probes in audit.pretext_probes.items():
        for probe in probes:
            said = (
                f"{line(task)}: {probe['region']} alone finds {probe['accuracy']:.1%} of the answers "
                f"({probe['low']:.1%} to {probe['high']:.1%}; chance {probe['chance']:.1%})"
            )
            console.print(Text.assemble(("LEAK ", "red"), said) if probe["leak"] else said)
    if audit.label_probe is not None and audit.label_probe["qwk"] is not None:
        console.print(f"Global statistics alone grade with QWK {audit.label_probe['qwk']:.3f}: the figure to beat.")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
