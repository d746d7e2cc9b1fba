"""``sslkit doctor``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from sslkit.cli.config_options import config_argument, set_option
from sslkit.cli.terminal import say


@click.command(
    short_help="Audit the images before anything is trained.",
    epilog="Example: sslkit doctor examples/dr_rotation.toml",
)
@config_argument
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
@click.option("--estimate/--no-estimate", default=True, help="Measure what a run will take, which trains a little.")
def doctor(config: Path, overrides: tuple[str, ...], as_json: bool, estimate: bool) -> None:
    """Decode and audit the images of CONFIG before anything is trained.

    Kinds of images, duplicates, conflicting labels, groups, classes, probes of what gives an answer away without any
    anatomy; and, measured for a few seconds, what a run will take in time and disk.
    """
    from sslkit import api
    from sslkit.cli.display import follow_run, show_audit, show_estimate

    with follow_run() as progress:
        found = api.doctor(config, overrides=overrides, observer=progress)
    if not as_json:
        show_audit(found)  # before the estimate, which takes time, and which an interruption would lose with it
    if not estimate:
        if as_json:
            click.echo(json.dumps(asdict(found), indent=2))
        return
    say("Measuring a few updates of this machine ...", err=True)
    bench = api.estimate(config, overrides=overrides)
    if as_json:
        click.echo(json.dumps({**asdict(found), "estimate": bench.estimate}, indent=2))
    else:
        show_estimate(bench)
