"""Completes the keys of a configuration and, behind the sign, their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from sslkit.cli.completing.given import given
from sslkit.cli.completing.plugins import names_of, options_of

_NAMED = {
    "dataset.name": "dataset",
    "backbone.name": "backbone",
    "pretext.name": "pretext-task",
    "head.name": "head",
    "compute.executor": "executor",
    "observers": "observer",
}
"""The keys that name a plugin, and its kind."""


def settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return ``KEY=`` for each key, or ``KEY=VALUE`` where values can be told: choices, switches, plugins."""
    key, equals, begun = incomplete.partition("=")
    keys = _keys()
    if equals:
        values = names_of(_NAMED[key]) if key in _NAMED else _values(keys.get(key, {}))
        return [CompletionItem(f"{key}={value}") for value in values if value.startswith(begun)]
    described = {name: str(field.get("description", "")) for name, field in keys.items()}
    described |= dict.fromkeys(_plugins_keys(context), "")
    return [
        CompletionItem(f"{name}=", help=text.replace("\n", " ") or None)
        for name, text in described.items()
        if name.startswith(key)
    ]


def _keys() -> dict[str, Mapping[str, Any]]:
    """Return the toolkit's own keys, and of each the schema of its values."""
    from sslkit.config.schema import RunConfig  # pydantic

    schema = RunConfig.model_json_schema()
    found: dict[str, Mapping[str, Any]] = {}
    for name, field in schema["properties"].items():
        table = schema["$defs"].get(str(field.get("$ref", "")).rpartition("/")[2], {})
        if f"{name}.name" in _NAMED:
            found[f"{name}.name"] = {"description": f"Which plugin is the {name}."}
        elif "properties" in table:
            found |= {f"{name}.{key}": value for key, value in table["properties"].items()}
        else:
            found[name] = field
    return found


def _values(field: Mapping[str, Any]) -> Iterator[str]:
    for option in field.get("anyOf", [field]):
        yield from (value for value in option.get("enum", ()) if isinstance(value, str))
        if "const" in option:
            yield str(option["const"])
        if option.get("type") == "boolean":
            yield from ("true", "false")


def _plugins_keys(context: click.Context) -> Iterator[str]:
    """Yield the options of the plugins that the configuration on the command line names."""
    from sslkit.config.loading import read_toml
    from sslkit.errors import SslkitError

    path = given(context, "config") or given(context, "path")
    try:
        tables = read_toml(Path(path)) if path else {}
    except SslkitError:
        return
    for table in ("dataset", "backbone", "pretext", "head"):
        named = tables.get(table)
        if isinstance(named, dict):
            yield from (f"{table}.{option}" for option in options_of(str(named.get("name"))))
    compute = tables.get("compute")
    if isinstance(compute, dict):
        yield from (f"executor.{option}" for option in options_of(str(compute.get("executor"))))
