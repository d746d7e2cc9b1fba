"""``sslkit predict``."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import click

from sslkit.cli.completing import arms, pretext_tasks, runs
from sslkit.cli.table_options import table_options
from sslkit.cli.terminal import say

NOTICE = "Not a medical device: for research only."

_path = click.Path(path_type=Path)


@click.command(
    short_help="Grade images with the models of a run.",
    epilog='Example: sslkit predict runs/dr "scans/**/*.jpg" --output grades.csv',
)
@click.argument("model", metavar="RUN|DIR", type=_path, shell_complete=runs)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=_path)
@click.option("--arm", shell_complete=arms, help="Whose models of a run to use; by default 'pretrained'.")
@click.option(
    "--pretext", shell_complete=pretext_tasks, help="Of which pretext task; needed only where the run has several."
)
@table_options
@click.option("--output", type=_path, metavar="FILE", help="Write the answers to a file: .csv or .json.")
@click.option("--cam", type=_path, metavar="DIR", help="Write a picture of each image, and of where the evidence lies.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
def predict(
    model: Path,
    images: tuple[Path, ...],
    arm: str | None,
    pretext: str | None,
    image_column: str,
    root: Path | None,
    output: Path | None,
    cam: Path | None,
    as_json: bool,
) -> None:
    """Grade images with the models of a run, one a fold, averaged; or with a model that was exported.

    IMAGE is a file, a folder, a pattern in quotes such as "scans/**/*.jpg", or a table of paths (.csv, .tsv,
    .parquet).

    Not a medical device. An image that cannot be read is reported, the rest are graded, and the exit status is 1.
    """
    from sslkit.cli.grading import GradingProgress, print_json
    from sslkit.engine.precision import keep_freed_memory
    from sslkit.errors import DataError
    from sslkit.experiment.graded_files import check_output, write_answers
    from sslkit.experiment.prediction import Predictor
    from sslkit.experiment.trained_models import find_images
    from sslkit.registry import build_registry

    if output is not None:
        check_output(output)
    if cam is not None and cam.exists() and not cam.is_dir():
        raise DataError(f"--cam {cam} is a file; give a folder, which is made where there is none")
    registry = build_registry()
    files = find_images(model, images, registry, image_column=image_column, root=root)
    total = files.count()  # which refuses a folder or pattern without an image before any model is loaded
    keep_freed_memory()
    predictor = Predictor.open(model, registry, arm=arm, pretext=pretext)
    with GradingProgress(total) as progress:
        answers = progress.follow(predictor.predict(files, cam=cam))
        if as_json:
            answers = print_json(answers)
        if output is not None:
            write_answers(output, answers, predictor.class_names)
        elif as_json:
            deque(answers, maxlen=0)
        else:
            progress.show(answers)
    for what, where in (("Answers", output), ("Pictures", cam)):
        if where is not None:
            say(f"{what}: {where}", err=True, one_line=True)
    if progress.unread:
        say(f"{progress.unread} of {progress.done} images could not be read.", err=True)
    say(NOTICE, err=output is not None or as_json)
    if progress.unread:
        raise click.exceptions.Exit(1)
