"""``sslkit report``."""

from __future__ import annotations

from pathlib import Path

import click

from sslkit.cli.terminal import say
from sslkit.errors import UsageError


@click.command(epilog="Example: sslkit report runs/dr")
@click.argument("run_directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where to write: by default RUN/report. Several runs are compared there, and need it.",
)
def report(run_directories: tuple[Path, ...], output: Path | None) -> None:
    """Write the report of a run anew from its results, or compare several runs."""
    from sslkit.report import compare_runs, write_report

    if len(run_directories) == 1:
        say(write_report(run_directories[0], output))
        return
    if output is None:
        raise UsageError(
            f"{len(run_directories)} runs are given, which are compared in a page of their own; "
            "say where to write it, for example --output compare"
        )
    say(compare_runs(run_directories, output))
