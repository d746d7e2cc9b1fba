"""What ``sslkit plugins check`` shows: the checks as they go, then a table, then what is to be mended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import rich.progress
from rich import box
from rich.table import Table
from rich.text import Text

from sslkit.cli.display import line, make_console
from sslkit.errors import PluginError, did_you_mean
from sslkit.printable import printable, shown
from sslkit.registry import KINDS, Kind, PluginInfo, Registry
from sslkit.testing import CHECKS, CheckRecord

_MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "opted out": ("○", "yellow"),
    "not applicable": ("·", "dim"),
}


def find_plugin(registry: Registry, name: str, kind: Kind | None) -> PluginInfo:
    """Return the plugin of a name, of whatever kind where none is given.

    Raises:
        PluginError: if there is none, or more than one.
    """
    if kind is not None:
        return registry.find(kind, name)
    kinds = [kind for kind in KINDS if name in registry.names(kind)]
    if len(kinds) == 1:
        return registry.find(kinds[0], name)
    if kinds:
        raise PluginError(f"there is a {' and a '.join(kinds)} called {shown(name)}; say which by --kind")
    if name in {observer.name for observer in registry.observers}:
        raise PluginError(f"{shown(name)} is an observer of runs, for which there are no checks")
    for broken in registry.broken:
        if name in (broken.entry_point, broken.distribution):
            why = broken.traceback.rstrip() or broken.reason
            raise PluginError(
                f"{shown(name)} of {broken.distribution} was set aside, so nothing can be checked:\n{why}"
            )
    names = sorted({plugin.name for plugin in registry.plugins})
    raise PluginError(
        f"no plugin is called {shown(name)}{did_you_mean(name, names) or '.'} Installed: {', '.join(names) or 'none'}. "
        "See 'sslkit plugins list'."
    )


def follow_checks(
    plugin: PluginInfo, check: Callable[[Callable[[CheckRecord], None]], list[CheckRecord]]
) -> list[CheckRecord]:
    """Carry out checks under a bar on standard error.

    Args:
        plugin: whose checks they are.
        check: takes what is to be called with each record.
    """
    console = make_console(stderr=True)
    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=30),
        rich.progress.MofNCompleteColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(line(f"Checking {plugin.name}"), total=len(CHECKS[plugin.kind]))
        return check(lambda record: bars.update(bar, advance=1, description=line(record.check)))


def show_records(plugin: PluginInfo, records: Sequence[CheckRecord]) -> None:
    """Print what each check came to, and the messages of those that failed."""
    console = make_console()
    table = Table(
        box=box.SIMPLE_HEAD, title=line(f"{plugin.kind} {plugin.name} of {plugin.origin}"), title_justify="left"
    )
    table.add_column("")
    table.add_column("check", no_wrap=True)
    table.add_column("seconds", justify="right")
    table.add_column("", ratio=1)
    for record in records:
        mark, style = _MARKS[record.outcome]
        reason = line(record.message) if record.outcome in ("opted out", "not applicable") else ""
        seconds = f"{record.seconds:.1f}" if record.seconds else ""
        table.add_row(Text(mark, style), Text(record.check, style), seconds, Text(reason, "dim"))
    console.print(table)
    for first, *others in _faults(records):
        more = f" and {len(others)} more: {', '.join(record.check for record in others)}" if others else ""
        console.print(Text.assemble((first.check, "red bold"), more))
        console.print(printable(f"{first.message}\n{first.traceback}".rstrip()), soft_wrap=True)
        console.print()
    console.print(_sentence(records))


def _faults(records: Iterable[CheckRecord]) -> list[list[CheckRecord]]:
    """Return the checks that failed, those together that failed by the same message."""
    faults: dict[str, list[CheckRecord]] = {}
    for record in records:
        if record.outcome == "failed":
            faults.setdefault(record.message.partition("\n")[0], []).append(record)
    return list(faults.values())


def _sentence(records: Sequence[CheckRecord]) -> str:
    counts = {outcome: sum(record.outcome == outcome for record in records) for outcome in _MARKS}
    parts = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    return f"{', '.join(parts)}, in {sum(record.seconds for record in records):.0f} s."
