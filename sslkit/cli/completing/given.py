"""What a command line that is not finished has said already."""

from __future__ import annotations

import click


def given(context: click.Context, name: str) -> str | None:
    """Return the value of an argument; None where it has not been given yet.

    Where the last word is an option that waits for its value, click leaves the arguments before it unread.
    """
    value = context.params.get(name)
    arguments = [parameter.name for parameter in context.command.params if isinstance(parameter, click.Argument)]
    if value is None and name in arguments and arguments.index(name) < len(context.args):
        value = context.args[arguments.index(name)]
    return None if value is None else str(value)
