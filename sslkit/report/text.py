"""How a report writes numbers, shares and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

UNDEFINED = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
METRIC_NAMES = {
    "qwk": "QWK",
    "auroc": "AUROC",
    "referable_auroc": "referable AUROC",
    "probe_qwk": "QWK of a linear probe",
}


def metric_name(metric: str) -> str:
    """Return a metric's name for people."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals and a true minus sign, or a dash where it is undefined.

    Example:
        >>> number(0.25), number(-0.25) == f"{MINUS}0.250", number(None) == UNDEFINED
        ('0.250', True, True)
    """
    return UNDEFINED if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


def p_value(value: float | None) -> str:
    """Return a p-value, which is never said to be zero.

    Example:
        >>> p_value(0.266), p_value(0.00001)
        ('0.266', '< 0.001')
    """
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def signed(value: float | None, digits: int = 3) -> str:
    """Return a number with its sign; zero, to the digits shown, has none.

    Example:
        >>> signed(0.0312), signed(-0.0001)
        ('+0.031', '0.000')
    """
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def count(value: float | None) -> str:
    """Return a count; a mean of counts below 100 that is not whole keeps one decimal.

    Example:
        >>> count(3662), count(23.6), count(146.4)
        ('3,662', '23.6', '146')
    """
    return UNDEFINED if value is None else f"{value:,.{0 if value >= 100 else 1}f}".removesuffix(".0")


def share(fraction: float) -> str:
    """Return a fraction as a percentage.

    Example:
        >>> share(0.05)
        '5 %'
    """
    return f"{100 * fraction:.4g} %"


def file_share(fraction: float) -> str:
    """Return a fraction as a percentage in a file's name.

    Example:
        >>> file_share(0.05), file_share(0.125)
        ('5', '12-5')
    """
    return f"{100 * fraction:.4g}".replace(".", "-")


def plural(value: int, noun: str) -> str:
    """Return a count and its noun.

    Example:
        >>> plural(1, "fold"), plural(5, "fold")
        ('1 fold', '5 folds')
    """
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time span in the units that fit it.

    Example:
        >>> duration(4.2), duration(192), duration(7384)
        ('4.2 s', '3 min 12 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def commit(git: Mapping[str, Any]) -> str:
    """Return a commit and whether anything was changed since.

    Example:
        >>> commit({"commit": "17ebe0c", "changed": True})
        '17ebe0c with changes'
    """
    return f"{git['commit']}{' with changes' if git['changed'] else ''}"


def moment(text: str) -> str:
    """Return an ISO time to the minute; what is no ISO time comes back as it is.

    Example:
        >>> moment("2026-03-01T12:34:56+00:00")
        '2026-03-01 12:34 UTC'
    """
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").rstrip()
    except ValueError:
        return text
