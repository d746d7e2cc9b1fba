"""``sslkit bench``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from sslkit.cli.config_options import config_argument, set_option


@click.command(
    short_help="Measure this machine, and say what a run will take.",
    epilog="Example: sslkit bench examples/dr_rotation.toml --json",
)
@config_argument
@set_option
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Time for each stage.")
@click.option("--compile", "compiled", is_flag=True, help="Time pretraining under compute.compile, too: minutes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
def bench(config: Path, overrides: tuple[str, ...], seconds: float, compiled: bool, as_json: bool) -> None:
    """Measure each stage of a run on this machine and these images, and say what the whole run will take."""
    from sslkit import api
    from sslkit.cli.display import show_bench
    from sslkit.engine.precision import keep_freed_memory

    keep_freed_memory()  # as 'sslkit predict' does
    found = api.bench(
        config,
        overrides=overrides,
        seconds=seconds,
        compiled=compiled,
        told=lambda stage: click.echo(f"{stage} ...", err=True),
    )
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
    else:
        show_bench(found)
