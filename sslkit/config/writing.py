"""Writes plain tables as TOML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(tables: Mapping[str, Any]) -> str:
    """Return TOML that [tomllib][] reads back as the same values; None is left out.

    Example:
        >>> print(to_toml({"seed": 0, "dataset": {"name": "csv"}}), end="")
        seed = 0
        <BLANKLINE>
        [dataset]
        name = "csv"
    """
    return "".join(_lines(tables, ()))


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if value is not None and not _is_table(value)}
    lines = [f"{_key(key)} = {_inline(value)}\n" for key, value in plain.items()]
    for key, value in table.items():
        if not _is_table(value):
            continue
        name = ".".join(_key(part) for part in (*path, key))
        for header, inner in (
            [(f"[{name}]", value)] if isinstance(value, Mapping) else [(f"[[{name}]]", v) for v in value]
        ):
            lines += ["\n", f"{header}\n", *_lines(inner, (*path, key))]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)
    )


def _key(key: str) -> str:
    return key if key.isascii() and key.replace("_", "").replace("-", "").isalnum() else _text(key)


def _inline(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_inline(item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_inline(item)}" for key, item in value.items() if item is not None)
        return f"{{{', '.join(pairs)}}}"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    # JSON would write what lies beyond 16 bits as two halves, which TOML refuses, and leave DEL as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
