"""What a plugin class has to be before it is used."""

from __future__ import annotations

import re
from typing import Any

from sslkit.config.base import PluginConfig
from sslkit.interfaces import API_VERSION, Plugin
from sslkit.interfaces.plugin import OLDEST_API_VERSION
from sslkit.printable import shown

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a plugin may be called: the name of a pretext task is that of a folder, too."""


def reason_to_refuse(cls: object, base: type[Plugin[Any]] = Plugin) -> str | None:
    """Return why a class is set aside, or None if it can be used.

    Args:
        cls: what a hook has returned.
        base: the interface that it must have.
    """
    if not (isinstance(cls, type) and issubclass(cls, base)):
        return f"{cls!r} is not a subclass of sslkit.{base.__name__}"
    if not (isinstance(getattr(cls, "name", None), str) and cls.name):
        return f"{cls.__name__} has no name"
    if not _NAME.fullmatch(cls.name):
        return f"{cls.name!r} is no name: a plugin is called by letters, digits, dots, hyphens and underscores"
    if advice := _refuse_version(cls.api_version):
        return f"{cls.name!r} speaks api_version {shown(cls.api_version)}{advice}"
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, PluginConfig)):
        return f"the Config of {cls.name!r} is not a subclass of sslkit.PluginConfig"
    if lacking := sorted(getattr(cls, "__abstractmethods__", ())):
        return f"{cls.name!r} does not implement {', '.join(lacking)}"
    return None


def _refuse_version(version: object) -> str | None:
    """Return the end of the sentence that refuses a class's api_version, or None where it is spoken here."""
    spoken = " to ".join(map(str, sorted({OLDEST_API_VERSION, API_VERSION})))
    if type(version) is not int:
        return f", which is no whole number; this sslkit speaks {spoken}: correct the plugin"
    if version > API_VERSION:
        return f"; this sslkit speaks {spoken}: upgrade sslkit"
    if version < OLDEST_API_VERSION:
        return f"; this sslkit speaks {spoken}: upgrade the plugin"
    return None


def deprecation_of(described: str, version: int) -> str | None:
    """Return that a later sslkit will set a plugin aside, and what to do; None where it speaks the newest interfaces.

    Args:
        described: which plugin it is.
        version: its api_version, one of those that are spoken.
    """
    if version == API_VERSION:
        return None
    return (
        f"{described} speaks api_version {version}: it works, but a later sslkit will set it aside; ask its authors "
        f"for one that speaks {API_VERSION}"
    )
