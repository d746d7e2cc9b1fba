"""``sslkit run``."""

from __future__ import annotations

from pathlib import Path

import click

from sslkit.cli.config_options import config_argument, set_option


@click.command(epilog="Example: sslkit run examples/dr_rotation.toml --output runs/dr --set pretraining.epochs=20")
@config_argument
@click.option("--output", type=click.Path(path_type=Path), help="Run directory; by default runs/ and the run's name.")
@set_option
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be done; compute nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings, failures and errors.")
@click.pass_context
def run(
    context: click.Context, config: Path, output: Path | None, overrides: tuple[str, ...], dry_run: bool, quiet: bool
) -> None:
    """Pretrain, fine-tune on shares of the labels, and report.

    CONFIG is a TOML file. Running the command again does only what is missing.
    """
    from sslkit import api
    from sslkit.cli.display import follow_run, show_plan, show_result
    from sslkit.torchrun import follows

    if follows():  # the first process of torchrun speaks for all
        if not dry_run:
            api.execute(config, output, overrides=overrides)
        return
    if dry_run:
        show_plan(api.plan(config, output, overrides=overrides))
        return
    with follow_run(quiet=quiet) as progress:
        result = api.execute(config, output, overrides=overrides, observer=progress)
    if not quiet:
        root = context.find_root().command
        show_result(result, root.list_commands(context) if isinstance(root, click.Group) else ())
    result.raise_failures()
