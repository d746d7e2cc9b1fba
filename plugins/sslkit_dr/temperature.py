"""Temperature scaling: one number that makes probabilities mean what they say.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599, section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

BOUND = 20.0
"""A temperature lies in 1 / BOUND .. BOUND. Where every prediction is right the likelihood grows without end as the
temperature falls: on images that a model has memorised, and on a handful of others, it ends at its bound."""

_STEPS = 60


def fit_temperature(loss: Callable[[float], torch.Tensor]) -> float:
    """Return the temperature with the least loss, by golden-section search over its logarithm.

    Args:
        loss: the negative log-likelihood, 0-d, at a temperature; with one minimum.

    Example:
        >>> round(fit_temperature(lambda temperature: torch.tensor(math.log(temperature / 3) ** 2).double()), 3)
        3.0
    """
    ratio = (math.sqrt(5) - 1) / 2
    low, high = -math.log(BOUND), math.log(BOUND)

    def at(place: float) -> float:
        return float(loss(math.exp(place)))

    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = at(left), at(right)
    for _ in range(_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = at(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = at(right)
    return math.exp((low + high) / 2)
