"""The consoles of the commands, on which nothing that others wrote steers a terminal."""

from __future__ import annotations

import os

from rich.console import Console

from sslkit.printable import printable


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that takes every string for what it is: no markup, no emoji codes, no colours of its own."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def line(text: object) -> str:
    """Return text as one line, with whatever would steer the terminal spelt out."""
    return printable(str(text), keep="")


def redraws(console: Console) -> bool:
    """Return whether lines may be drawn over.

    That is in a terminal alone: FORCE_COLOR asks for colours in a file or a pipe, not for a screen; and a dumb terminal
    knows no way back.
    """
    dumb = os.environ.get("TERM", "") in ("", "dumb", "unknown") and os.name != "nt"
    return console.file.isatty() and console.is_interactive and not dumb
