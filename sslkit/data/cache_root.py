"""Where decoded images are: a folder, or a place in object storage with a folder on each machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from sslkit.errors import ConfigError
from sslkit.storage import StorageURL, is_url

CacheRoot: TypeAlias = Path | str
"""The folder of all caches, or its URL."""


def default_cache_root() -> CacheRoot:
    """Return $SSLKIT_CACHE, a folder or a URL, or else sslkit in the user's cache folder.

    Raises:
        ConfigError: if the URL is none of a folder.
    """
    given = os.environ.get("SSLKIT_CACHE")
    if not given:
        return _users_cache()
    try:
        return StorageURL.parse(given) if is_url(given) else Path(given)
    except ValueError as error:
        raise ConfigError(f"SSLKIT_CACHE: {error}") from None


def local_root(root: CacheRoot) -> Path:
    """Return the folder on this machine that belongs to a root: itself, or where what is far away is kept.

    The latter is $SSLKIT_CACHE_LOCAL, or else sslkit in the user's cache folder.
    """
    if isinstance(root, Path):
        return root
    given = os.environ.get("SSLKIT_CACHE_LOCAL")
    return Path(given) if given else _users_cache()


def _users_cache() -> Path:
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "sslkit"
    return Path.home() / ".cache" / "sslkit"
