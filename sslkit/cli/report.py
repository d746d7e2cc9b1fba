"""``sslkit report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sslkit.cli.completing import runs
from sslkit.cli.terminal import say

if TYPE_CHECKING:
    from sslkit.experiment.projection import Method


@click.command(epilog="Example: sslkit report runs/dr")
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path), shell_complete=runs)
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
def report(run_directory: Path, features: Path | None, projection: Method | None) -> None:
    """Write the report of a run anew from its results."""
    from sslkit.report import write_report

    if features is not None:
        from sslkit.experiment.embedding import Embedding
        from sslkit.experiment.projection import keep_projection

        keep_projection(run_directory, Embedding.load(features), projection or "pca")
    elif projection is not None:
        raise click.UsageError("--projection says how --features are drawn; give --features FILE as well")
    say(write_report(run_directory))
