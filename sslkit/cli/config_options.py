"""The argument and the option of every command that is about a configuration."""

from __future__ import annotations

from pathlib import Path

import click

from sslkit.cli.completing import configurations, settings

config_argument = click.argument(
    "config", type=click.Path(path_type=Path, dir_okay=False), shell_complete=configurations
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=settings,
    help="Override a key of the configuration.",
)
