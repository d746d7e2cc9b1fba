"""Renders the references of configuration and command line from the code, so that they cannot drift from it.

mkdocs calls ``on_page_markdown`` for each page; a page asks for a reference by a comment on a line of its own:
``<!-- reference: table pretraining -->``, ``<!-- reference: plugins dataset -->``, ``<!-- reference: families -->``,
``<!-- reference: checks dataset -->``, ``<!-- reference: hooks -->`` or ``<!-- reference: commands -->``.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from sslkit import ViewsConfig, build_registry, hookspecs
from sslkit.cli import cli
from sslkit.config import PluginConfig, RunConfig
from sslkit.interfaces import FAMILIES
from sslkit.registry import KINDS, PluginInfo, Registry
from sslkit.testing import CHECKS, Check

_MARK = re.compile(r"^<!-- reference: (\w+)(?: ([\w-]+))? -->$", re.MULTILINE)

HOOK_NAMES = tuple(name for name in vars(hookspecs) if name.startswith("sslkit_"))
"""The hooks, in the order in which they are shown."""

_PAGES = Path(__file__).parent

_NOUNS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each mark of a page by the reference that it asks for."""
    return _MARK.sub(lambda mark: render(mark[1], mark[2] or ""), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Put each table into a box that scrolls where the page is narrow, by keyboard too."""
    box = '<div class="scroll" role="region" aria-label="Table" tabindex="0">'
    return html.replace("<table>", f"{box}<table>").replace("</table>", "</table></div>")


def on_post_page(output: str, **_: Any) -> str:
    """Name the search's dialog, which the theme leaves nameless, for those who hear the page."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def render(what: str, name: str = "") -> str:
    """Return one reference as Markdown.

    Args:
        what: ``"table"``, ``"plugins"``, ``"families"``, ``"checks"``, ``"hooks"`` or ``"commands"``.
        name: for a table its key in the configuration (``"run"``: the keys above all tables; ``"views"``: those of the
            random views that several pretext tasks have); for plugins their kind; for checks the kind of plugin, or
            ``"every-kind"``.

    Raises:
        ValueError: if there is no such reference.
    """
    tables: dict[str, type[BaseModel]] = {"run": RunConfig, "views": ViewsConfig, **toolkit_tables()}
    match what:
        case "table" if name in tables:
            return _table_of(tables[name])
        case "plugins" if name in KINDS:
            return "\n\n".join(_plugin(plugin) for plugin in own_plugins() if plugin.kind == name)
        case "families" if not name:
            return families()
        case "checks" if name in ("every-kind", *CHECKS):
            return "\n\n".join(_check(check, name) for check in checks_of(name))
        case "hooks":
            return "\n\n".join(_hook(name, getattr(hookspecs, name)) for name in HOOK_NAMES)
        case "commands":
            return "\n\n".join(_command(path, command) for path, command in commands(cli))
    raise ValueError(f"unknown reference {what!r} {name!r}")


@cache
def own_plugins() -> tuple[PluginInfo, ...]:
    """Return the plugins of this distribution, and of no other that happens to be installed."""
    registry: Registry = build_registry()
    return tuple(plugin for plugin in registry.plugins if plugin.distribution == "sslkit")


def _hook(name: str, hook: Callable[..., Any]) -> str:
    """Return a hook's section: its signature, its docstring, and what of sslkit implements it."""
    docstring = inspect.getdoc(hook)
    if not docstring:
        raise ValueError(f"nothing says what {name} is for; give it a docstring")
    text, *sections = re.split(r"^(Args|Returns):\n", docstring, flags=re.MULTILINE)
    for title, section in zip(sections[::2], sections[1::2], strict=True):
        body = inspect.cleandoc(section)
        text += re.sub(r"^(\w+):", r"- `\1`:", body, flags=re.MULTILINE) if title == "Args" else f"It returns {body}"
        text += "\n\n"
    implemented = _implementations(name)
    coming = (
        f"With sslkit {'come' if len(implemented) > 1 else 'comes'} {', '.join(implemented)}." if implemented else ""
    )
    heading = f"### `{name}({', '.join(inspect.signature(hook).parameters)})`"
    return f"{heading}\n\n{text.strip().replace('``', '`')}\n\n{coming}".rstrip()


def _implementations(hook: str) -> list[str]:
    """Return what of this distribution implements a hook, each with the page that it has, if any."""
    registry = build_registry()
    names = (implementation.plugin_name for implementation in getattr(registry.hooks, hook).get_hookimpls())
    own = sorted(name.removeprefix("sslkit:") for name in names if name.startswith("sslkit:"))
    return [_link(name) for name in own]


def _link(plugin: str) -> str:
    """Return the name of a plugin, as a link where it has a page."""
    for page in (f"{plugin}.md", f"tasks/{plugin}.md"):
        if (_PAGES / page).exists():
            return f"[`{plugin}`]({page})"
    return f"`{plugin}`"


def checks_of(kind: str) -> list[Check]:
    """Return the checks of one kind of plugin alone, or those of ``"every-kind"``."""
    everywhere = {check.name for check in CHECKS["pretext-task"]}.intersection(
        *({check.name for check in checks} for checks in CHECKS.values())
    )
    if kind == "every-kind":
        return [check for check in CHECKS["pretext-task"] if check.name in everywhere]
    return [check for check in CHECKS[kind] if check.name not in everywhere]


def _check(check: Check, kind: str) -> str:
    promise, _, advice = inspect.cleandoc(check.function.__doc__ or "").partition("\n\n")
    if not (promise and advice):
        raise ValueError(f"{check.name} lacks a docstring that says what is promised, and then why and how to mend it")
    conditions = []
    if check.tag is not None:
        conditions.append(f"Applies to classes with `{check.tag}` among their `tags`.")
    if check.overriding is not None:
        conditions.append(f"Applies to classes that have a `{check.overriding}` of their own.")
    parts = (promise.replace("\n", " "), advice, *conditions)
    text = "\n\n".join(parts)
    return f"### `{check.name}` {{ #{kind}-{check.name} }}\n\n{text.replace('``', '`')}"


def commands(group: click.Group, prefix: str = "sslkit") -> Iterator[tuple[str, click.Command]]:
    """Yield the full name of every command below a group, and the command."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def toolkit_tables() -> dict[str, type[PluginConfig]]:
    """Return the toolkit's own tables of a configuration, by key."""
    annotations = {key: field.annotation for key, field in RunConfig.model_fields.items()}
    return {
        key: model for key, model in annotations.items() if isinstance(model, type) and issubclass(model, PluginConfig)
    }


def _plugin(plugin: PluginInfo) -> str:
    return (
        f"### `{plugin.name}` {{ #{plugin.kind}-{plugin.name} }}\n\n{plugin.summary}\n\n{_table_of(plugin.cls.Config)}"
    )


def _table_of(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    required = schema.get("required", [])
    rows = ["| key | accepted | default | meaning |", "|---|---|---|---|"]
    for key, field in schema.get("properties", {}).items():
        if model is RunConfig and key not in ("name", "seed", "observers"):
            continue
        meaning = field.get("description")
        if not meaning:
            raise ValueError(f"nothing says what {key!r} of {model.__name__} means; describe the field")
        default = "*required*" if key in required else _literal(field.get("default"))
        if "$ref" in field:
            default = "its own"
        cells = (f"`{key}`", _accepted(field), default, meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) if len(rows) > 2 else "It has no options."


def families() -> str:
    """Return the pretext tasks of the toolkit by family, a table each, with their papers."""
    tasks = [plugin for plugin in own_plugins() if plugin.kind == "pretext-task"]
    parts = []
    for family, learnt in FAMILIES.items():
        if own := [task for task in tasks if task.family == family]:
            rows = [f"| [`{task.name}`]({task.name}.md) | {task.summary} | {task.paper} |" for task in own]
            table = "\n".join(["| task | what it is | source |", "|---|---|---|", *rows])
            parts.append(f"### {family.capitalize()}: {learnt}\n\n{table}")
    return "\n\n".join(parts)


def _accepted(field: Mapping[str, Any]) -> str:
    """Return in words what a field of a JSON schema accepts."""
    if "$ref" in field:
        return "table"
    if "anyOf" in field:
        return " or ".join(_accepted(option) for option in field["anyOf"] if option.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(_literal(value) for value in field.get("enum", [field.get("const")]))
    if field.get("format") in ("path", "path-or-url"):
        return str(field["format"]).replace("-or-url", " or URL")
    if field.get("type") == "array":
        return f"list of: {_accepted(field['items'])}"
    if field.get("type") == "object":
        return "table"
    noun = _NOUNS[field["type"]]
    bounds = [f"{words} {json.dumps(field[bound])}" for bound, words in _BOUNDS.items() if bound in field]
    return f"{noun}, {', '.join(bounds)}" if bounds else noun


def _literal(value: Any) -> str:
    """Return a default as TOML writes it."""
    if value is None:
        return "not set"
    return f"`{json.dumps(value)}`"


def _command(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    parts = [f"## {path}", f"```text\n{usage}\n```", inspect.cleandoc(command.help or "")]
    options = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    rows = [f"| `{names}` | {meaning} |" for names, meaning in filter(None, options)]
    if rows:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
    if command.epilog:
        parts.append(f"```sh\n{command.epilog.removeprefix('Example: ')}\n```")
    return "\n\n".join(parts)
