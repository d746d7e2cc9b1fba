"""The options by which commands read a table of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def table_options(command: FunctionT) -> FunctionT:
    """Give a command ``--image-column`` and ``--root``."""
    for option in (
        click.option(
            "--root",
            type=click.Path(path_type=Path),
            help="What paths in a table are relative to; by default the table's folder.",
        ),
        click.option(
            "--image-column", default="image", show_default=True, help="Of a table, the column of the images' paths."
        ),
    ):
        command = option(command)
    return command
