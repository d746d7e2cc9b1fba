"""Groups of commands that show them by what they are for, and know the nearest to one that there is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from sslkit.errors import did_you_mean
from sslkit.printable import shown

SECTIONS: dict[str, tuple[str, ...]] = {
    "A study": ("run", "doctor", "ingest", "bench", "config"),
    "What came of it": ("report", "predict", "serve", "export", "embed"),
    "The toolkit": ("plugins", "completion"),
}
"""The commands of the toolkit by what they are for; one that none names stands below the last."""


class CommandGroup(click.Group):
    """A group of commands, those of ``SECTIONS`` under headings."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; of one that there is not, say which is nearest.

        Raises:
            click.UsageError: if there is no such command.
        """
        name = args[0] if args else ""
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            names = self.list_commands(ctx)
            advice = did_you_mean(name, names) or "."
            ctx.fail(f"No such command {shown(name)}{advice} There are: {', '.join(names)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into a help text, under their headings."""
        known = {name: command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))}
        placed = {name for names in SECTIONS.values() for name in names}
        sections: dict[str, Sequence[str]] = {
            title: [name for name in names if name in known] for title, names in SECTIONS.items()
        }
        if self is not ctx.find_root().command:
            sections = {"Commands": list(known)}
        elif others := [name for name in known if name not in placed]:
            sections["Others"] = others
        width = max(map(len, known), default=0)
        for title, names in sections.items():
            if names:
                with formatter.section(title):
                    limit = formatter.width - 6 - width
                    formatter.write_dl([(name.ljust(width), known[name].get_short_help_str(limit)) for name in names])


class ToolkitGroup(CommandGroup):
    """The toolkit's own group, whose subgroups are of the same kind."""

    group_class: Any = CommandGroup
