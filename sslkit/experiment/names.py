"""What a cell is called where people read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def name_cell(place: Mapping[str, Any]) -> str:
    """Return in words which cell it is.

    Args:
        place: ``pretext``, ``arm``, ``fraction``, ``fold`` and ``repetition``, as in a row of results.csv.

    Example:
        >>> name_cell({"pretext": "rotation", "arm": "frozen", "fraction": 0.1, "fold": 2, "repetition": 0})
        'rotation frozen, 0.1 of the labels, fold 2, repetition 0'
    """
    task = f"{place['pretext']} " if place["pretext"] else ""
    share = f"{place['fraction']:.3g} of the labels"
    return f"{task}{place['arm']}, {share}, fold {place['fold']}, repetition {place['repetition']}"
