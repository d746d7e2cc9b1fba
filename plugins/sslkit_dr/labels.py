"""Grades of diabetic retinopathy as data sets write them."""

from __future__ import annotations

import re

from sslkit.errors import did_you_mean

GRADE_NAMES = ("No DR", "Mild", "Moderate", "Severe", "Proliferative DR")
"""The five grades of the international clinical scale (Wilkinson et al., Ophthalmology 110(9), 2003), 0 to 4."""

_SPELLINGS = (
    ("No DR", "No apparent retinopathy", "Normal"),
    ("Mild", "Mild DR", "Mild NPDR"),
    ("Moderate", "Moderate DR", "Moderate NPDR"),
    ("Severe", "Severe DR", "Severe NPDR"),
    ("Proliferative DR", "Proliferative", "Proliferate DR", "Proliferate", "PDR"),
)


def grade_of(label: str | int) -> int:
    """Return the grade, 0..4, that a label means.

    Numbers are accepted as they are and as text, with a fraction of zero too, since pandas writes a column with gaps
    as 2.0. Names are compared without regard to case, spaces, hyphens and underscores. "None" is no grade: in
    tables it mostly stands for a label that is missing.

    Args:
        label: a number or a name.

    Raises:
        ValueError: if the label is no grade; the message lists what is accepted.

    Example:
        >>> [grade_of(label) for label in (2, "2", "2.0", "Moderate", "No_DR", "Proliferate_DR")]
        [2, 2, 2, 2, 0, 4]
    """
    text = str(label).strip()
    if re.fullmatch(r"[0-4](\.0*)?", text):
        return int(text[0])
    grade = _GRADE_OF.get(_key(text))
    if grade is None:
        every = [spelling for spellings in _SPELLINGS for spelling in spellings]
        raise ValueError(
            f"label {label!r} is no grade of diabetic retinopathy{did_you_mean(text, every) or '.'} "
            f"Accepted: 0 to {len(GRADE_NAMES) - 1}, or {', '.join(every)}, in any case and with spaces, '_' or '-'."
        )
    return grade


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


_GRADE_OF = {_key(spelling): grade for grade, spellings in enumerate(_SPELLINGS) for spelling in spellings}
