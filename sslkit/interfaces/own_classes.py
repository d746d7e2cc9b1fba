"""Plugin classes that no distribution announces: whether other processes find them, and what their version is."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from typing import Any

from sslkit.interfaces.plugin import Plugin


def why_out_of_reach(cls: type[Plugin[Any]]) -> str | None:
    """Return why another process cannot find a class by its name; None where it can.

    A job reaches its process pickled, and of a class the name alone is pickled. The main program of a process is
    imported there again where it is a file.
    """
    module = sys.modules.get(cls.__module__)
    if cls.__module__ == "__main__" and not getattr(module, "__file__", None):
        return "it is defined in a notebook or at a prompt, and in no file"
    found: Any = module
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return None if found is cls else "it is not what its module knows by that name"


def module_for(cls: type) -> str:
    """Return what a module might be called that holds a class.

    Example:
        >>> module_for(type("UpsideDown", (), {}))
        'upside_down'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


def source_digest(cls: type[Plugin[Any]]) -> str:
    """Return a digest of the source of a class and of its Config; empty where no file holds it."""
    try:
        source = inspect.getsource(cls) + inspect.getsource(cls.Config)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:12]
