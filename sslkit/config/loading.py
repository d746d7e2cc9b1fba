"""From a TOML file and ``--set`` overrides to a checked configuration."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sslkit.config.messages import describe_validation_error
from sslkit.config.plain import to_plain
from sslkit.config.schema import RunConfig
from sslkit.errors import ConfigError
from sslkit.printable import abbreviate, shown

ModelT = TypeVar("ModelT", bound=BaseModel)

MOST_BYTES = 2**20
"""Of a TOML file: a whole study takes a few thousand, and a device or an image given by mistake has no end."""


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        path: a TOML file; its relative paths are relative to its folder.
        overrides: ``KEY=VALUE`` each, KEY a dotted path, VALUE as TOML writes it (a bare word is a text).

    Raises:
        ConfigError: if the file cannot be read, or a key, type or value is wrong.
    """
    return parse_config(read_toml(Path(path)), root=Path(path).parent, overrides=overrides)


def parse_config(data: Mapping[str, Any], *, root: str | Path = ".", overrides: Iterable[str] = ()) -> RunConfig:
    """Check plain values as a configuration whose relative paths are relative to ``root``.

    Raises:
        ConfigError: if a key, type or value is wrong.
    """
    tables = override_keys(to_plain(data), overrides)
    root = Path(root).resolve()
    config = validate(RunConfig, to_plain(tables), root=root)
    config._root = root
    return config


def validate(model: type[ModelT], values: Mapping[str, Any], *, root: Path, key: str = "") -> ModelT:
    """Return plain values as a model, with absolute paths.

    Args:
        model: what they are to be.
        values: what TOML can hold.
        root: the folder that relative paths are relative to.
        key: path of the table in the configuration, for messages.

    Raises:
        ConfigError: if a key, type or value is wrong.
    """
    try:
        return model.model_validate_json(json.dumps(values), context={"root": root})
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, model, prefix=key)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        ConfigError: if it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ConfigError(f"{path} has more than {MOST_BYTES:,} bytes, so it is no configuration; give a TOML file")
        return tomllib.loads(content.decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"no configuration at {path}; give the path of a TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a TOML file: {error}") from None
    except (ValueError, RecursionError) as error:  # beside a TOMLDecodeError, a number or a nesting beyond all measure
        raise ConfigError(f"{path} is not valid TOML: {abbreviate(str(error), 300)}") from None


def override_keys(tables: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Set keys of plain tables, in place, and return them.

    Args:
        tables: what to change.
        overrides: ``KEY=VALUE`` each; see [load_config][sslkit.load_config].

    Raises:
        ConfigError: if one of them is not of that form.
    """
    for override in overrides:
        _apply(tables, override)
    return tables


def _apply(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {shown(override)} is not KEY=VALUE, such as --set pretraining.epochs=20")
    table: Any = tables
    for depth, part in enumerate(parts[:-1]):
        table = table.setdefault(part, {}) if isinstance(table, dict) else table
        if isinstance(table, list) and len(table) == 1:  # [[pretext]], as the config.toml of a run has it
            table = table[0]
        if not isinstance(table, dict):
            raise ConfigError(f"--set {shown(override)}: {'.'.join(parts[: depth + 1])} is not a table")
    table[parts[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["value"] if list(parsed) == ["value"] else text
