"""``sslkit predict``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from sslkit.cli.completing import arms, pretext_tasks, runs
from sslkit.cli.terminal import say


@click.command(epilog="Example: sslkit predict runs/dr photograph.jpg --json")
@click.argument("run_directory", metavar="RUN", type=click.Path(path_type=Path), shell_complete=runs)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--arm", shell_complete=arms, help="Whose models to use; by default 'pretrained'.")
@click.option(
    "--pretext", shell_complete=pretext_tasks, help="Of which pretext task; needed only where the run has several."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
def predict(run_directory: Path, images: tuple[Path, ...], arm: str | None, pretext: str | None, as_json: bool) -> None:
    """Grade images with the models of a run, one a fold, averaged.

    Not a medical device. An image that cannot be read is reported, the rest are graded, and the exit status is 1.
    """
    from sslkit import api
    from sslkit.cli.display import show_grades
    from sslkit.engine.precision import keep_freed_memory

    keep_freed_memory()
    graded = list(api.predict(run_directory, images, arm=arm, pretext=pretext))
    if as_json:
        click.echo(json.dumps([asdict(image) for image in graded], indent=2))
    else:
        show_grades(graded)
    unread = [image for image in graded if image.error is not None]
    for image in unread:
        say(f"Error: {image.image} cannot be read: {image.error}", err=True, one_line=True)
    if unread:
        raise click.exceptions.Exit(1)
