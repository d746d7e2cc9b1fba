"""What ``sslkit run --dry-run`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from sslkit.cli.display.bench import estimate
from sslkit.cli.display.console import line, make_console
from sslkit.cli.display.forecast import show_forecast

if TYPE_CHECKING:
    from sslkit.experiment.dry_run import DryRun

NO_GROUPS = (
    "every image is a group of its own; where patients have several, tell which are whose (group_column, or "
    "group_pattern), or one patient may stand on two sides of a split"
)


def show_plan(plan: DryRun) -> None:
    """Print what a run would do."""
    console = make_console()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts = ", ".join(f"{name} {count}" for name, count in plan.class_counts.items())
    labels = ", ".join(f"{share:.0%}: {count}" for share, count in plan.labels.items())
    for key, value in {
        "output": str(plan.output),
        "images": f"{plan.num_images} in {plan.num_groups} groups, {plan.num_unlabelled} of them without a label",
        "classes": counts,
        "labels (fold 0)": labels,
        "jobs": f"{plan.num_pretrainings} pretrainings, {plan.num_cells} cells, {plan.workers} at a time",
        "compute": f"{plan.compute.device}, {plan.compute.precision}",
    }.items():
        table.add_row(key, line(value))
    console.print(table)
    if plan.num_groups == plan.num_images:
        console.print(f"note: {NO_GROUPS}")
    for sentence in (*plan.missing_classes, *filter(None, [plan.too_large])):
        console.print(f"note: {line(sentence)}")
    show_forecast(console, plan.forecast, plan.unknown, plan.compute.device)
    if plan.bench is not None:
        console.print(f"\nAll of it, decoding included, as measured by 'sslkit bench': {estimate(plan.bench)}.")
    console.print("Nothing was computed.")
