"""Which files are opened."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LISTENERS: list[set[str]] = []


@contextmanager
def files_opened() -> Iterator[set[str]]:
    """Collect the absolute paths, links followed, of the files that Python opens in the block, in whatever thread.

    Example:
        >>> with files_opened() as opened, open("/dev/null"):
        ...     pass
        >>> "/dev/null" in opened
        True
    """
    _listen()
    opened: set[str] = set()
    _LISTENERS.append(opened)
    try:
        yield opened
    finally:
        _LISTENERS[:] = [other for other in _LISTENERS if other is not opened]


@functools.cache
def _listen() -> None:
    # A hook stays for the life of the process; without a listener it costs next to nothing.
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _LISTENERS and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        for opened in _LISTENERS:
            opened.add(path)
