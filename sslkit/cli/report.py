"""``sslkit report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sslkit.cli.completing import runs
from sslkit.cli.terminal import say
from sslkit.errors import UsageError

if TYPE_CHECKING:
    from sslkit.experiment.projection import Method


@click.command(short_help="Write the report of a run anew; compare several.", epilog="Example: sslkit report runs/dr")
@click.argument(
    "run_directories",
    metavar="RUN...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    shell_complete=runs,
)
@click.option(
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where to write: by default RUN/report. Several runs are compared there, and need it.",
)
@click.option(
    "--features",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw these features as well, which 'sslkit embed' wrote; later reports keep the drawing.",
)
@click.option(
    "--projection",
    type=click.Choice(["pca", "umap"]),
    help="How the features are brought onto a plane; by default pca.",
)
def report(
    run_directories: tuple[Path, ...], output: Path | None, features: Path | None, projection: Method | None
) -> None:
    """Write the report of a run anew from its results, or compare several runs."""
    from sslkit.report import compare_runs, write_report

    if projection is not None and features is None:
        raise click.UsageError("--projection says how --features are drawn; give --features FILE as well")
    if len(run_directories) == 1:
        if features is not None:
            from sslkit.experiment.embedding import Embedding
            from sslkit.experiment.projection import keep_projection

            keep_projection(run_directories[0], Embedding.load(features), projection or "pca")
        say(write_report(run_directories[0], output))
        return
    if features is not None:
        raise click.UsageError("--features are drawn in the report of one run; several are given")
    if output is None:
        raise UsageError(
            f"{len(run_directories)} runs are given, which are compared in a page of their own; "
            "say where to write it, for example --output compare"
        )
    say(compare_runs(run_directories, output))
