"""Which patients there are, how grave each eye is, and which patients have labels.

Patient p takes place p of an additive two-dimensional sequence (Roberts 2018, "The unreasonable effectiveness of
quasirandom sequences"): its first coordinate is the severity, its second decides on labels. So a patient's grade never
depends on how many patients there are, and yet every run of patients holds the grades nearly in their proportions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np

_PLASTIC = 1.3247179572447460
_EYES_DIFFER = 0.075


def severity(seed: int, patient: int) -> tuple[float, float, float]:
    """Return the severity of the left eye, that of the right, and the rank for labels, each in 0..1.

    The two eyes differ by at most 0.075, which puts about 85 % of patients in one grade on both sides where five
    grades share the scale.
    """
    left, rank = ((start + patient / _PLASTIC**k) % 1 for k, start in enumerate(_starts(seed), start=1))
    right = abs(left + _stream(seed, patient).uniform(-_EYES_DIFFER, _EYES_DIFFER))
    return left, float(2 - right if right > 1 else right), rank


@lru_cache
def _starts(seed: int) -> tuple[float, float]:
    left, rank = _stream(seed, 0).random(2).tolist()
    return left, rank


def _stream(seed: int, patient: int) -> np.random.Generator:
    # A spawn key keeps these numbers apart from those that the photographs are made of: looks must not tell grades.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(patient,)))


def grade_of(severity: float, proportions: Sequence[float]) -> int:
    """Return the grade whose share of the scale 0..1 holds a severity.

    Example:
        >>> grade_of(0.7, [0.5, 0.25, 0.25])
        1
    """
    for grade, end in enumerate(accumulate(proportions)):
        if severity < end and proportions[grade] > 0:
            return grade
    return max(grade for grade, share in enumerate(proportions) if share > 0)
