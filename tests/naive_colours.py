"""Colours one by one, for what is computed of whole images to be held against."""

from __future__ import annotations


def naive_lab(red: int, green: int, blue: int) -> list[float]:
    """L*a*b* of one colour, from the standards' formulas."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red / 255, green / 255, blue / 255)]
    rows = [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ]
    x, y, z = (sum(a * b for a, b in zip(row, linear, strict=True)) / sum(row) for row in rows)
    f = [t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z)]
    return [116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])]
