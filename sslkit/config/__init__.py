"""The configuration of a run: its TOML schema, loading and writing."""

from sslkit.config.base import ConfigPath, PluginConfig
from sslkit.config.loading import load_config, parse_config
from sslkit.config.location import Location, StorageOptions
from sslkit.config.schema import PluginTable, RunConfig
from sslkit.config.writing import to_toml

__all__ = [
    "ConfigPath",
    "Location",
    "PluginConfig",
    "PluginTable",
    "RunConfig",
    "StorageOptions",
    "load_config",
    "parse_config",
    "to_toml",
]
