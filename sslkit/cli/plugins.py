"""``sslkit plugins``."""

from __future__ import annotations

import json

import click

from sslkit.cli.terminal import say


@click.group()
def plugins() -> None:
    """See which plugins are installed."""


@plugins.command("list", epilog="Example: sslkit plugins list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins, and those that were set aside as broken."""
    from sslkit.cli.display import show_plugins
    from sslkit.registry import build_registry

    registry = build_registry()
    if as_json:
        found = [
            {
                "kind": plugin.kind,
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "summary": plugin.summary,
            }
            for plugin in registry.plugins
        ]
        click.echo(json.dumps({"plugins": found, "broken": [vars(plugin) for plugin in registry.broken]}, indent=2))
    else:
        show_plugins(registry)
    for conflict in registry.conflicts():
        say(f"Error: {conflict}", err=True)
    if registry.conflicts():
        raise click.exceptions.Exit(1)
