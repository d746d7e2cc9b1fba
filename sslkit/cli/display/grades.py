"""What ``sslkit predict`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from sslkit.cli.display.console import line, make_console

if TYPE_CHECKING:
    from sslkit.experiment.graded import GradedImage


def show_grades(images: Sequence[GradedImage]) -> None:
    """Print a table of graded images."""
    graded = [image for image in images if image.probabilities is not None]
    if not graded:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("image", overflow="fold", ratio=1)
    table.add_column("grade", no_wrap=True)
    for grade in range(len(graded[0].probabilities or {})):
        table.add_column(f"p({grade})", justify="right", no_wrap=True)
    referable = any(image.referable_probability is not None for image in graded)
    if referable:
        table.add_column("referable", justify="right", no_wrap=True)
    for image in graded:
        shares = (image.probabilities or {}).values()
        cells = [image.image, f"{image.grade} {image.grade_name}", *(f"{share:.2f}" for share in shares)]
        table.add_row(*map(line, [*cells, _referable(image)] if referable else cells))
    make_console().print(table)


def _referable(image: GradedImage) -> str:
    """Return whether an image is referable, where that is known, and the probability."""
    called = {True: "yes ", False: "no ", None: ""}[image.referable]
    return f"{called}{image.referable_probability or 0:.2f}"
