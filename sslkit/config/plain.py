"""What a configuration is made of before its schema is asked: the values that TOML can hold."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from sslkit.errors import ConfigError
from sslkit.printable import abbreviate, printable, shown

MOST_LEVELS = 16
"""Of tables and arrays in one another; what reads them further on recurses."""

_INTEGERS = range(-(2**63), 2**63)


def to_plain(value: object, path: tuple[str, ...] = ()) -> Any:
    """Return a copy as dicts, lists, texts, finite numbers, booleans and None; dates and paths become texts.

    Args:
        value: what TOML or a caller gave.
        path: its keys from the top, for messages.

    Raises:
        ConfigError: if TOML cannot hold the value or one within it, or it is nested beyond all measure.
    """
    if len(path) > MOST_LEVELS:
        raise ConfigError(f"{key_path(path)}: is nested deeper than {MOST_LEVELS} tables or arrays; flatten it")
    if isinstance(value, Mapping):
        return {_text(key, path): to_plain(inner, (*path, str(key))) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner, (*path, str(place))) for place, inner in enumerate(value)]
    if isinstance(value, datetime.date | datetime.time | PurePath):
        value = str(value)
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, bool | None):
        return value
    if isinstance(value, int):
        return _integer(value, path)
    if isinstance(value, float):
        return _finite(value, path)
    raise ConfigError(f"{key_path(path)}: TOML cannot hold a {type(value).__name__}; given: {shown(value)}.")


def key_path(parts: tuple[str, ...]) -> str:
    """Return the path of a key as messages name it: in one line, without control characters, abbreviated."""
    return abbreviate(".".join(abbreviate(printable(part, keep=""), 60) or '""' for part in parts)) or "configuration"


def _text(value: object, path: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key_path(path)}: the key {shown(value)} should be a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{key_path(path)}: {shown(value)} is not Unicode text; write it in UTF-8") from None
    return value


def _integer(value: int, path: tuple[str, ...]) -> int:
    if value not in _INTEGERS:
        digits = math.floor(value.bit_length() * math.log10(2)) + 1
        raise ConfigError(f"{key_path(path)}: a whole number of some {digits} digits; accepted: -2**63 to 2**63 - 1")
    return value


def _finite(value: float, path: tuple[str, ...]) -> float:
    if not math.isfinite(value):
        raise ConfigError(f"{key_path(path)}: input should be a finite number; given: {value}.")
    return value
