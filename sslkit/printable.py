"""Text from anywhere, made fit to be shown: what would steer a terminal or turn a line around is spelt out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that show nothing themselves: controls, formats, lone surrogates, and breaks of lines."""

_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
"""Formats that Persian, Indic scripts and emoji are written with; they steer nothing but the shape of a letter."""


def printable(text: str, *, keep: str = "\n\t") -> str:
    r"""Return text in which control characters, bidirectional overrides and lone surrogates are spelt out.

    Args:
        text: a file name, a class, an error's message: whatever others wrote.
        keep: control characters that may stay; a name that must not break a line keeps none.

    Example:
        >>> print(printable("\x1b[2Jscan.png"), printable("a\nb", keep=""))
        \x1b[2Jscan.png a\nb
    """
    if text.isprintable():
        return text
    kept = keep + _JOINERS
    return "".join(letter if letter in kept or not _steers(letter) else _spelt(letter) for letter in text)


def abbreviate(text: str, width: int = 120) -> str:
    """Return text that can be printed, without its middle where it is longer than ``width``.

    Example:
        >>> abbreviate("0123456789", width=6)
        '0123 ... 89'
    """
    text = printable(text)
    if len(text) <= width:
        return text
    tail = width // 3
    return f"{text[: width - tail]} ... {text[-tail:]}"


def shown(value: object) -> str:
    r"""Return a value as Python writes it, in one line and abbreviated: for messages that quote what was given.

    Example:
        >>> print(shown("two\nlines"))
        'two\nlines'
    """
    return abbreviate(repr(value))


def listed(names: Iterable[str], most: int = 40) -> str:
    """Return names in one line, each abbreviated, and how many there are where not all are shown.

    Example:
        >>> listed(["left", "right", "both"], most=2)
        'left, right, ... (3 in all)'
    """
    names = list(names)
    texts = [abbreviate(printable(name, keep=""), 60) for name in names[:most]]
    while sum(map(len, texts)) > 1000:
        texts.pop()
    return ", ".join([*texts, *([f"... ({len(names)} in all)"] if len(names) > len(texts) else [])])


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in _STEERING


def _spelt(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
