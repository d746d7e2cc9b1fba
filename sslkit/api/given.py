"""What the verbs are given: a configuration in any of its forms, and plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslkit.config import RunConfig, load_config, parse_config
from sslkit.errors import UsageError
from sslkit.registry import Registry, build_registry

if TYPE_CHECKING:
    from sslkit.interfaces import Plugin

Plugins = Iterable["type[Plugin[Any]]"]
"""Plugin classes of the calling program itself."""

ConfigLike = RunConfig | Mapping[str, Any] | str | Path
"""A configuration: checked already, as plain tables, or a TOML file."""


def checked(config: ConfigLike, overrides: Iterable[str]) -> RunConfig:
    """Return a configuration that was checked, with overrides (``KEY=VALUE`` each)."""
    if isinstance(config, str | Path):
        return load_config(Path(config), overrides)
    if isinstance(config, RunConfig):
        return parse_config(config.model_dump(mode="json"), root=config.root, overrides=overrides)
    return parse_config(config, root=Path.cwd(), overrides=overrides)


def chosen_registry(registry: Registry | None, plugins: Plugins) -> Registry:
    """Return the registry that was given, or one of what is installed and of the program's own plugins.

    Raises:
        UsageError: if both are given.
    """
    if registry is None:
        return build_registry(extra=plugins)
    if plugins:
        raise UsageError("give either a registry or plugins; build_registry(extra=[...]) makes a registry with them")
    return registry


def output_of(config: RunConfig, output: str | Path | None) -> Path:
    """Return the run directory: by default ``runs/`` and the run's name."""
    return Path("runs") / config.name if output is None else Path(output)
