"""Completes the arms and pretext tasks of the run that a command line names."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from sslkit.cli.completing.given import given

_ARMS = ("pretrained", "scratch", "frozen", "knn", "imagenet")
_WITHOUT_MODEL = "knn"


def arms(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the arms of the run that keep models; where no run is named yet, all there are."""
    found = _config(context).get("evaluation", {}).get("arms", _ARMS)
    return _begun((name for name in found if name != _WITHOUT_MODEL), incomplete)


def pretext_tasks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the pretext tasks of the run."""
    found = _config(context).get("pretext", [])
    tables = found if isinstance(found, list) else [found]
    return _begun((str(table.get("name", "")) for table in tables), incomplete)


def _config(context: click.Context) -> dict[str, Any]:
    first = next(parameter.name for parameter in context.command.params if isinstance(parameter, click.Argument))
    run = given(context, first or "")
    try:
        return {} if run is None else tomllib.loads((Path(run) / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _begun(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete) and name.isprintable()]
