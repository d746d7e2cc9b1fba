"""What a check is given: a plugin class and the options that it is tried with."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from sslkit.config.base import PluginConfig
from sslkit.config.loading import validate
from sslkit.config.plain import to_plain
from sslkit.interfaces import Plugin
from sslkit.registry import Kind

Options = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
"""Options of a plugin, or what writes the files that they name into a folder and returns them."""


class Subject:
    """A plugin class and the options that it is tried with.

    Args:
        cls: the plugin class.
        options: its options; see [Options][sslkit.testing.Options]. By default, none: every option has a default then.
    """

    kind: ClassVar[Kind]

    def __init__(self, cls: type[Plugin[Any]], options: Options | None = None) -> None:
        self.cls, self._given = cls, {} if options is None else options

    @cached_property
    def folder(self) -> Path:
        """A folder for the files of a try, which goes away with the subject."""
        folder = Path(tempfile.mkdtemp(prefix="sslkit-check-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options, as plain values."""
        given: dict[str, Any] = to_plain(self._given(self.folder) if callable(self._given) else self._given)
        return given

    @cached_property
    def config(self) -> PluginConfig:
        """The validated options.

        Raises:
            ConfigError: if they are wrong, or one is missing.
        """
        return self.validate(self.options)

    @property
    def root(self) -> Path:
        """The folder that relative paths among the options are relative to."""
        return self.folder if callable(self._given) else Path.cwd()

    def validate(self, options: Mapping[str, Any]) -> PluginConfig:
        """Return options as the plugin gets them.

        Raises:
            ConfigError: if they are wrong, or one is missing.
        """
        return validate(self.cls.Config, options, root=self.root)

    def require(self) -> None:
        """Refuse what is wrong of the options, which is the caller's mistake and no check's.

        Raises:
            ConfigError: if they are wrong, or one is missing.
        """
        self.validate(self.options)

    def __getstate__(self) -> dict[str, Any]:
        # What has been made of it stays here: another process makes its own.
        return {"cls": self.cls, "_given": self.options, "config": self.config}
