"""The options by which commands choose among the weights of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from sslkit.cli.completing import arms, pretext_tasks

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def weights_options(command: FunctionT) -> FunctionT:
    """Give a command ``--fold``, ``--weights``, ``--pretext`` and ``--arm``."""
    for option in (
        click.option("--arm", shell_complete=arms, help="Of finetuned weights: of which arm; by default 'pretrained'."),
        click.option(
            "--pretext",
            shell_complete=pretext_tasks,
            help="Of which pretext task; needed only where the run has several.",
        ),
        click.option(
            "--weights",
            type=click.Choice(["pretrained", "finetuned"]),
            default="pretrained",
            show_default=True,
            help="As the pretext task left them, or as they were then trained on labels.",
        ),
        click.option(
            "--fold",
            type=int,
            default=0,
            show_default=True,
            help="Whose test images the weights have not seen.",
        ),
    ):
        command = option(command)
    return command
