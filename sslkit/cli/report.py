"""``sslkit report``."""

from __future__ import annotations

from pathlib import Path

import click

from sslkit.cli.completing import runs
from sslkit.cli.terminal import say


@click.command(epilog="Example: sslkit report runs/dr")
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path), shell_complete=runs)
def report(run_directory: Path) -> None:
    """Write the report of a run anew from its results."""
    from sslkit.report import write_report

    say(write_report(run_directory))
