"""Text from anywhere, made fit to be shown: what would steer a terminal or turn a line around is spelt out."""

from __future__ import annotations

import unicodedata

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


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in _STEERING


def _spelt(letter: str) -> str:
    return letter.encode("unicode_escape").decode()
