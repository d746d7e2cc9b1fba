"""What the options of a model mean, where its docstring says it and not its fields."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

_SECTION = re.compile(r"^Attributes:\n((?: .*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}(?!_)(\w+): ((?:.*\n?)(?:^ {8}.*\n?)*)", re.MULTILINE)


def documented(model: type) -> dict[str, str]:
    """Return what the sections ``Attributes:`` of a class and of those that it is built on say of each attribute.

    Example:
        >>> class Options:
        ...     '''Options of a task.
        ...
        ...     Attributes:
        ...         num_tiles: into which an image is cut;
        ...             a square number.
        ...     '''
        >>> documented(Options)
        {'num_tiles': 'into which an image is cut; a square number.'}
    """
    return {
        name: text for cls in reversed(model.__mro__) for name, text in _entries(inspect.cleandoc(cls.__doc__ or ""))
    }


def _entries(docstring: str) -> Iterator[tuple[str, str]]:
    section = _SECTION.search(docstring)
    for name, text in _ENTRY.findall(section[1] if section else ""):
        yield name, " ".join(text.split())
