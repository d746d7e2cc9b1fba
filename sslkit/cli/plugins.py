"""``sslkit plugins``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sslkit.cli.completing import plugin_names, plugin_options
from sslkit.cli.groups import CommandGroup
from sslkit.cli.terminal import say
from sslkit.scaffold import NEW_KINDS, NewKind, new_plugin

if TYPE_CHECKING:
    from sslkit.registry import Kind

KINDS: tuple[Kind, ...] = ("pretext-task", "backbone", "head", "dataset", "executor")
"""Those of the registry, which is not loaded for a help text."""


@click.group(cls=CommandGroup, short_help="List, check and begin plugins.", epilog="Example: sslkit plugins list")
def plugins() -> None:
    """See which plugins are installed and whether they keep their promises, and begin new ones."""


@plugins.command(
    "list", short_help="List plugins, and those set aside as broken.", epilog="Example: sslkit plugins list --json"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
def list_plugins(as_json: bool) -> None:
    """List the installed plugins, and those that were set aside as broken."""
    from sslkit.cli.display import show_plugins
    from sslkit.registry import build_registry

    registry = build_registry()
    if as_json:
        found: list[dict[str, Any]] = [
            {
                "kind": plugin.kind,
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "api_version": plugin.cls.api_version,
                "deprecation": plugin.deprecation,
                "summary": plugin.summary,
                **({"family": plugin.family, "paper": plugin.paper} if plugin.kind == "pretext-task" else {}),
            }
            for plugin in registry.plugins
        ]
        found += [
            {"kind": observer.kind, **{key: value for key, value in vars(observer).items() if key != "module"}}
            for observer in registry.observers
        ]
        click.echo(json.dumps({"plugins": found, "broken": [vars(plugin) for plugin in registry.broken]}, indent=2))
    else:
        show_plugins(registry)
    for conflict in registry.conflicts():
        say(f"Error: {conflict}", err=True)
    if registry.conflicts():
        raise click.exceptions.Exit(1)


@plugins.command(
    short_help="Write a new plugin that works, to be made your own.",
    epilog="Example: sslkit plugins new upside-down --kind pretext-task",
)
@click.argument("name")
@click.option("--kind", type=click.Choice(NEW_KINDS), required=True, help="What the plugin is.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="DIR", help="The new folder; by default sslkit-NAME, here."
)
def new(name: str, kind: NewKind, output: Path | None) -> None:
    """Write a new plugin: a distribution of its own that works, with tests, to be made your own.

    NAME is what a configuration is to call it. Nothing is overwritten.
    """
    from sslkit.registry import build_registry

    made = new_plugin(name, kind, output, registry=build_registry())
    say(f"{made.folder} holds the {kind.replace('-', ' ')} {name!r}: {made.names.module}.py is the file to change.")
    say("It works as it is:\n\n" + "".join(f"  {command}\n" for command in made.commands))


@plugins.command(epilog="Example: sslkit plugins check timm --set model=resnet18")
@click.argument("name", shell_complete=plugin_names)
@click.option("--kind", type=click.Choice(KINDS), help="Of the plugin, where several kinds have one of that name.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=plugin_options,
    help="Give the plugin an option.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone on standard output.")
def check(name: str, kind: Kind | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Put a plugin to the checks of the conformance kit.

    The exit status is 1 if one of them fails. A relative path among the options is relative to the working directory.
    """
    from sslkit.cli.checking import find_plugin, follow_checks, show_records
    from sslkit.config.loading import override_keys
    from sslkit.errors import ConfigError
    from sslkit.registry import build_registry
    from sslkit.testing import check_plugin

    plugin = find_plugin(build_registry(), name, kind)
    options = override_keys({}, overrides)
    try:
        records = follow_checks(plugin, lambda tell: check_plugin(plugin.cls, options, on_record=tell))
    except ConfigError as error:
        raise ConfigError(f"{error}\nOptions of a plugin are given by --set KEY=VALUE.") from error
    if as_json:
        known = {"kind": plugin.kind, "name": plugin.name, "distribution": plugin.distribution}
        checks = [record.as_dict() for record in records]
        click.echo(json.dumps({**known, "version": plugin.version, "checks": checks}, indent=2))
    else:
        show_records(plugin, records)
    if any(record.outcome == "failed" for record in records):
        raise click.exceptions.Exit(1)
