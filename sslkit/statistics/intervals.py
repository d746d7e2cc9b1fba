"""What every interval of this package has in common."""

from __future__ import annotations

ROUNDING = 1e-12
"""Scores of order one that lie closer than this are equal: a test set of any size tells them apart more coarsely."""


def tails(confidence: float) -> tuple[float, float]:
    """Return the two quantiles (0..1) between which an interval of this confidence lies.

    Raises:
        ValueError: if the confidence is not between 0 and 1.

    Example:
        >>> tails(0.5)
        (0.25, 0.75)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1, 0.95 for an interval of 95 %")
    return (1 - confidence) / 2, (1 + confidence) / 2
