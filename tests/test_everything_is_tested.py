"""A command, a key of the configuration, an option of a plugin or a hook that no test uses has been forgotten."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from sslkit import PluginConfig, build_registry, hookspecs
from sslkit.cli import cli
from sslkit.config import RunConfig

TESTS = Path(__file__).parent
GENERATED = {"test_config_random.py", "test_config_json_schema_agreement.py", Path(__file__).name}
"""Those that go over all keys there are, and so would name a forgotten one."""


@cache
def source_of_tests(folder: str = "") -> str:
    paths = (path for path in sorted((TESTS / folder).rglob("*.py")) if path.name not in GENERATED)
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def commands(group: click.Group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, (*words, name)) if isinstance(command, click.Group) else [(*words, name)]
    return found


def keys_of(model: type[BaseModel], table: str = "") -> list[str]:
    """Return the dotted path of every key of the toolkit's own tables, but for tables that a test goes over as such."""
    if f"{model.__name__}.model_fields)" in source_of_tests():
        return []
    keys: list[str] = []
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, PluginConfig):
            keys += keys_of(nested, f"{name}.")
        else:
            keys.append(f"{table}{name}")
    return keys


def uses_command(words: tuple[str, ...], source: str) -> bool:
    return re.search(r",\s*".join(rf'"{word}"' for word in words) + r"\s*[,)\]]", source) is not None


def uses_key(key: str, source: str) -> bool:
    """Return whether a key is written as one: in a table, as an argument or attribute, or as an override."""
    name = key.rpartition(".")[2]
    return re.search(rf'"{name}":|\b{name}\s?=|\.{name}\b|"{name}"', source) is not None


@pytest.mark.parametrize("words", commands(cli), ids=" ".join)
def test_every_command_is_used(words: tuple[str, ...]) -> None:
    assert uses_command(words, source_of_tests())


@pytest.mark.parametrize("key", keys_of(RunConfig))
def test_every_key_of_the_configuration_is_used(key: str) -> None:
    assert uses_key(key, source_of_tests())


OPTIONS = [
    (plugin.cls.__module__.partition(".")[0], name)
    for plugin in build_registry().plugins
    if plugin.distribution == "sslkit"
    for name in plugin.cls.Config.model_fields
]


@pytest.mark.parametrize(("package", "name"), OPTIONS)
def test_every_option_of_a_plugin_is_used_in_its_tests(package: str, name: str) -> None:
    assert uses_key(name, source_of_tests(f"plugins/{package}"))


@pytest.mark.parametrize("name", [name for name in vars(hookspecs) if name.startswith("sslkit_")])
def test_every_hook_is_used(name: str) -> None:
    assert re.search(rf"\b{name}\b", source_of_tests())


def test_what_nothing_uses_would_be_found() -> None:
    source = 'sslkit("plugins", "list")\nconfig(pretraining={"epochs": 2})\n'
    assert uses_command(("plugins", "list"), source)
    assert not uses_command(("plugins", "check"), source)
    assert uses_key("pretraining.epochs", source)
    assert not uses_key("pretraining.warmup", source)
