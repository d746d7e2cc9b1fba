"""What ``sslkit plugins list`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from sslkit.cli.display.console import line, make_console
from sslkit.interfaces import FAMILIES
from sslkit.printable import printable

if TYPE_CHECKING:
    from sslkit.registry import ObserverInfo, PluginInfo, Registry

_KINDS = {
    "pretext-task": "Pretext tasks",
    "backbone": "Backbones",
    "head": "Heads",
    "dataset": "Data sets",
    "executor": "Executors",
    "observer": "Observers",
}


def show_plugins(registry: Registry) -> None:
    """Print the installed plugins, and those set aside."""
    console = make_console()
    listed: list[PluginInfo | ObserverInfo] = [*registry.plugins, *registry.observers]
    width = max((len(plugin.name) for plugin in listed), default=0)
    for kind in dict.fromkeys(plugin.kind for plugin in listed):
        console.print(Text(f"\n{_KINDS[kind]}", style="bold"))
        if kind != "pretext-task":
            console.print(_plugins_table([plugin for plugin in listed if plugin.kind == kind], width))
            continue
        for family, learnt in FAMILIES.items():
            if own := [plugin for plugin in registry.plugins if (plugin.kind, plugin.family) == (kind, family)]:
                console.print(Text.assemble(f"\n  {family}", (f": {learnt}", "dim")))
                console.print(_plugins_table(own, width))
    console.print()
    for text in filter(None, (plugin.deprecation for plugin in registry.plugins)):
        console.print(Text.assemble(("warning:", "yellow"), f" {line(text)}"), soft_wrap=True)
    for observer in registry.observers:
        if observer.lacks:
            console.print(f"The observer {line(observer.name)} cannot work yet: {line(observer.lacks)}")
    for broken in registry.broken:
        who = line(f"{broken.entry_point} of {broken.distribution} {broken.version}")
        console.print(Text.assemble(("set aside:", "red"), f" {who}"))
        console.print(printable(broken.traceback.rstrip() or broken.reason))


def _plugins_table(plugins: Sequence[PluginInfo | ObserverInfo], width: int) -> Table:
    """Return a line for each plugin, with the source of its method below it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False, expand=True)
    table.add_column(width=4)
    table.add_column(width=width, style="cyan", no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", style="dim", no_wrap=True)
    for plugin in plugins:
        paper = getattr(plugin, "paper", "")
        what = Text(line(plugin.summary))
        if paper:
            what.append(f"\n{line(paper)}", style="dim")
        table.add_row("", line(plugin.name), what, line(plugin.origin))
    return table
