"""The jobs of a run in their order, and how long they take by the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sslkit.cli.display.console import line
from sslkit.cli.display.words import job_name, name_of, span

if TYPE_CHECKING:
    from sslkit.experiment.forecast import Forecast, Wave

_MOST_LINES = 12
"""Kinds of jobs beyond which the pretext tasks share lines."""

_BAR = 20
"""Letters of the longest bar."""

_RESTS_ON = {
    "bench": "as 'sslkit bench' measured on this machine",
    "run": "by the times of the jobs in the run directory",
    "cost": "in thousand images through a forward pass, a backward pass counting two; "
    "for hours run 'sslkit bench CONFIG'",
}


def show_forecast(console: Console, found: Forecast, unknown: str, device: str) -> None:
    """Print the jobs, how long the missing ones take, and what bounds that.

    Args:
        console: where.
        found: what to print.
        unknown: why it is not known which jobs are done; empty where it is.
        device: what the run computes on.
    """
    amount: Callable[[float], str] = _hours if found.unit == "hours" else _number
    console.print(Text("\nJobs, those first that begin first", "bold"))
    console.print(_jobs(_lines(found.waves), amount, known=not unknown))
    if unknown:
        console.print(f"All count as missing: {line(unknown)}.", style="dim")
    if not found.critical_path:
        console.print("\nNothing is missing: the same command writes the tables and the report again.")
        return
    console.print(Text.assemble("\n", ("How long", "bold"), f", {_RESTS_ON[found.basis]}"))
    console.print(_workers(found, amount, bars=console.is_terminal))
    if found.unit == "hours":
        console.print("Beyond this machine a job takes 4 s more to begin, as with ray or slurm.", style="dim")
    console.print()
    names = " → ".join(job_name(name) for name in found.critical_path)
    console.print(
        Text.assemble(
            ("Critical path", "bold"),
            f": {names}, {amount(found.critical_amount)}. No number of workers is faster, and "
            f"{'one' if found.enough_workers == 1 else found.enough_workers} will do. In all "
            f"{_whole(found, device)}.",
        )
    )


def _jobs(waves: Iterable[Wave], amount: Callable[[float], str], *, known: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for name in ("all", "done", "missing", "each"):
        table.add_column(name, justify="right", no_wrap=True, header_style="dim")
    table.add_column("waits for", no_wrap=True, header_style="dim")
    for wave in waves:
        done = str(wave.jobs - wave.missing) if known else "?"
        each = amount(wave.amount) if wave.missing else ""
        kind = Text.assemble((wave.kind, "bold" if wave.missing else ""), f" {name_of(wave.pretext, wave.arm)}")
        table.add_row(kind, str(wave.jobs), done, str(wave.missing), each, wave.waits_for or "nothing")
    return table


def _lines(waves: tuple[Wave, ...]) -> list[Wave]:
    """Return the waves, or one for all pretext tasks where they are many."""
    if len(waves) <= _MOST_LINES:
        return list(waves)
    from sslkit.experiment.forecast import Wave

    groups: dict[tuple[str, str, str], list[Wave]] = {}
    for wave in waves:
        groups.setdefault((wave.kind, wave.arm, wave.waits_for), []).append(wave)
    lines = []
    for (kind, arm, waits_for), group in groups.items():
        pretext = f"({len(group)} tasks)" if group[0].pretext else ""
        missing = sum(wave.missing for wave in group)
        mean = sum(wave.amount * wave.missing for wave in group) / missing if missing else 0.0
        lines.append(Wave(kind, pretext, arm, sum(wave.jobs for wave in group), missing, waits_for, mean))
    return lines


def _workers(found: Forecast, amount: Callable[[float], str], *, bars: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("workers", justify="right", no_wrap=True, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("until the end", justify="right", no_wrap=True, header_style="dim")
    table.add_column("at work", justify="right", no_wrap=True, header_style="dim")
    longest = max(each.amount for each in found.on_workers)
    for each in found.on_workers:
        bar = "━" * max(1, round(_BAR * each.amount / longest)) if bars else ""
        where = "this machine" if each.own else ""
        style = "bold" if each.own else ""
        table.add_row(
            Text(str(each.workers), style),
            Text(where, "dim"),
            Text(amount(each.amount), style),
            f"{each.busy:.0%}",
            *([Text(bar, "green" if each.own else "cyan")] if bars else ()),
        )
    return table


def _whole(found: Forecast, device: str) -> str:
    unit = found.unit if found.unit != "hours" else "core-hours" if device == "cpu" else "GPU-hours"
    return f"{_number(found.total)} {unit}"


def _hours(hours: float) -> str:
    return span(3600 * hours)


def _number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.3g}"
