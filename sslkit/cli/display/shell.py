"""Command lines that can be copied into a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path


def shell_word(text: str) -> str:
    r"""Return text as a shell reads it back: quoted where it has to be, and what cannot be shown spelt out.

    Example:
        >>> print(shell_word("runs/dr"), shell_word("my runs"), shell_word("a\x1b[2J"))
        runs/dr 'my runs' $'a\x1b[2J'
    """
    if text.isprintable():
        return shlex.quote(text)
    letters = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}" for byte in os.fsencode(text)
    )
    return f"$'{''.join(letters)}'"


def next_commands(run_directory: Path, known: Iterable[str]) -> list[str]:
    """Return what is worth doing with a finished run, a command line each.

    Args:
        run_directory: the run.
        known: the names of the commands that there are.
    """
    run = shell_word(str(run_directory))
    commands = {
        "predict": f"sslkit predict {run} PHOTOGRAPH.jpg",
        "serve": f"sslkit serve {run}",
        "export": f"sslkit export {run} {shell_word(f'{run_directory}-weights')}",
        "embed": f"sslkit embed {run} --output {shell_word(f'{run_directory}-features.npz')}",
        "report": f"sslkit report {run}",
    }
    return [commands[name] for name in commands if name in set(known)]
