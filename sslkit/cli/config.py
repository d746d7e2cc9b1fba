"""``sslkit config``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sslkit.cli.completing import configurations
from sslkit.cli.config_options import set_option
from sslkit.cli.groups import CommandGroup
from sslkit.cli.terminal import say


@click.group(cls=CommandGroup, epilog="Example: sslkit config check examples/dr_rotation.toml")
def config() -> None:
    """Check configurations, and print their schema."""


@config.command(
    short_help="Check a configuration; touch no data.", epilog="Example: sslkit config check examples/dr_rotation.toml"
)
@click.argument("path", metavar="CONFIG", type=click.Path(path_type=Path), shell_complete=configurations)
@set_option
def check(path: Path, overrides: tuple[str, ...]) -> None:
    """Check a configuration and the options of its plugins; touch no data."""
    from sslkit.config import load_config
    from sslkit.experiment.study import resolve
    from sslkit.registry import build_registry

    study = resolve(load_config(path, overrides), build_registry())
    for text in study.deprecations():
        say(f"Warning: {text}", err=True)
    say(f"{path} is a valid configuration.")


@config.command(
    short_help="Print the JSON schema of a configuration.", epilog="Example: sslkit config schema > sslkit.schema.json"
)
def schema() -> None:
    """Print the JSON schema of a configuration, with the options of all installed plugins."""
    from sslkit.experiment.schema import json_schema
    from sslkit.registry import build_registry

    click.echo(json.dumps(json_schema(build_registry()), indent=2))
