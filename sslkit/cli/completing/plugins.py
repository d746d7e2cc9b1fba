"""Completes the names and options of plugins by reading their source: importing them takes seconds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from sslkit.cli.completing.given import given

_KINDS = {
    "pretext_tasks": "pretext-task",
    "backbones": "backbone",
    "heads": "head",
    "datasets": "dataset",
    "executors": "executor",
    "run_started": "observer",
    "epoch_finished": "observer",
    "cell_finished": "observer",
    "run_finished": "observer",
}
_HOOK = re.compile(r"^def sslkit_(\w+)\(", re.MULTILINE)
_NAME = re.compile(r"^    name(?:\s*:[^=\n]+)?\s*=\s*[\"']([\w.-]+)[\"']", re.MULTILINE)


class _Source(NamedTuple):
    """A plugin module that is installed: the names and kinds of what it announces, and its text."""

    names: tuple[str, ...]
    kinds: frozenset[str]
    text: str


def names_of(kind: str) -> list[str]:
    """Return the names of the plugins of one kind that are installed, ``"observer"`` among the kinds."""
    return sorted({name for source in _sources() if kind in source.kinds for name in source.names})


def options_of(name: str) -> list[str]:
    """Return the options of a plugin that stand in its own source; those that it inherits from elsewhere lack."""
    for source in _sources():
        if name in source.names:
            return _options(source.text, name)
    return []


def plugin_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of plugins that can be checked, of the kind that was asked for."""
    kind = context.params.get("kind")
    kinds = [kind] if kind else sorted(set(_KINDS.values()) - {"observer"})
    return [CompletionItem(name, help=kind) for kind in kinds for name in names_of(kind) if name.startswith(incomplete)]


def plugin_options(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the options of the plugin that is to be checked."""
    options = options_of(given(context, "name") or "")
    return [CompletionItem(f"{option}=") for option in options if option.startswith(incomplete)]


@cache
def _sources() -> tuple[_Source, ...]:
    found = []
    for entry in metadata.entry_points(group="sslkit"):
        try:
            text = _read(entry.module)
        except (OSError, UnicodeDecodeError, ImportError):
            text = ""
        kinds = frozenset(_KINDS[hook] for hook in _HOOK.findall(text) if hook in _KINDS)
        names = [entry.name] if kinds <= {"observer"} else _NAME.findall(text) or [entry.name]
        found.append(_Source(tuple(names), kinds, text))
    return tuple(found)


def _read(module: str) -> str:
    """Return the source of a module that is not imported, nor are the packages that it lies in."""
    path = None
    for depth, _ in enumerate(parts := module.split(".")):
        spec = PathFinder.find_spec(".".join(parts[: depth + 1]), path)
        if spec is None:
            return ""
        path = spec.submodule_search_locations
        origin = spec.origin
    return Path(origin).read_text(encoding="utf-8") if origin and origin.endswith(".py") else ""


def _options(text: str, name: str) -> list[str]:
    try:
        classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    except SyntaxError:
        return []
    for node in classes.values():
        own = {target.id: value for target, value in _assignments(node.body) if value is not None}
        called, config = own.get("name"), own.get("Config")
        if isinstance(called, ast.Constant) and called.value == name and isinstance(config, ast.Name):
            return sorted(_fields(classes, config.id))
    return []


def _fields(classes: Mapping[str, ast.ClassDef], name: str) -> set[str]:
    """Return the fields of a class of options, with those of the classes of its module that it is built on."""
    if name not in classes:
        return set()
    own = {
        target.id
        for statement in classes[name].body
        if isinstance(statement, ast.AnnAssign) and "ClassVar" not in ast.unparse(statement.annotation)
        for target, _ in _assignments([statement])
        if not target.id.startswith("_")
    }
    bases = (base.id for base in classes[name].bases if isinstance(base, ast.Name) and base.id != name)
    return own.union(*(_fields(classes, base) for base in bases))


def _assignments(statements: Iterable[ast.stmt]) -> Iterator[tuple[ast.Name, ast.expr | None]]:
    for statement in statements:
        match statement:
            case ast.AnnAssign(target=ast.Name() as target, value=value):
                yield target, value
            case ast.Assign(targets=[ast.Name() as target], value=value):
                yield target, value
