"""``sslkit embed``."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from sslkit.cli.completing import runs
from sslkit.cli.table_options import table_options
from sslkit.cli.terminal import say
from sslkit.cli.weights_options import weights_options

if TYPE_CHECKING:
    from sslkit.experiment.run_weights import Weights


@click.command(short_help="Write the features of images.", epilog="Example: sslkit embed runs/dr --output features.npz")
@click.argument("path", metavar="RUN|DIR", type=click.Path(path_type=Path), shell_complete=runs)
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A file, .npz or .parquet.")
@table_options
@weights_options
def embed(
    path: Path,
    images: tuple[Path, ...],
    output: Path,
    image_column: str,
    root: Path | None,
    fold: int,
    weights: Weights,
    pretext: str | None,
    arm: str | None,
) -> None:
    """Write the features of images: of a run's own, or of files, folders, patterns and tables.

    RUN is a run directory, DIR what 'sslkit export' wrote. An image that cannot be read is reported, the rest are
    written, and the exit status is 1.
    """
    from sslkit import api
    from sslkit.engine.precision import keep_freed_memory
    from sslkit.experiment.embedding import prepare_output
    from sslkit.experiment.trained_models import find_images
    from sslkit.registry import build_registry

    prepare_output(output)
    registry = build_registry()
    files = list(find_images(path, images, registry, image_column=image_column, root=root))
    keep_freed_memory()
    with _Progress() as progress:
        found = api.embed(
            path,
            files or None,
            fold=fold,
            weights=weights,
            pretext=pretext,
            arm=arm,
            registry=registry,
            told=progress.told,
        )
    found.save(output)
    known = sum(grade >= 0 for grade in found.grades.tolist())
    labels = f", {known:,} of them labelled" if known else ""
    say(f"{output}: {len(found):,} images{labels}, {found.features.shape[1]:,} features each", one_line=True)
    if known:
        say(f"Next: sslkit report {shlex.quote(str(path))} --features {shlex.quote(str(output))}", one_line=True)
    for image, reason in found.unreadable.items():
        say(f"Error: {image} cannot be read: {reason}", err=True, one_line=True)
    if found.unreadable and images:
        raise click.exceptions.Exit(1)


class _Progress:
    """A bar a stage in a terminal, a line a stage elsewhere."""

    def __init__(self) -> None:
        import rich.progress

        from sslkit.cli.display import make_console, redraws

        self._console = make_console(stderr=True)
        self._redraws = redraws(self._console)
        self._bars = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=30),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            console=self._console,
            disable=not self._redraws,
        )
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def told(self, stage: str, done: int, total: int) -> None:
        """Begin or move a bar."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
            if not self._redraws:
                self._console.print(f"{stage}: {total} images")
        self._bars.update(self._tasks[stage], completed=done)
