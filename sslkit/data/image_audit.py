"""What kinds of images a data set holds, and which of them are odd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.data.image_statistics import STATISTICS

_LEAST_DEVIATION = 0.5
"""Grey levels: an image whose every channel deviates less is of one colour."""


def describe_images(
    ids: Sequence[str],
    headers: npt.NDArray[np.void],
    statistics: npt.NDArray[np.float64],
    unreadable: Mapping[str, str],
    size: int,
) -> dict[str, Any]:
    """Return counts of formats, modes and bit depths, spreads of size and aspect, and lists of odd images.

    Args:
        ids: of the N readable images.
        headers: (N,) of ``format``, ``mode`` and ``bits``.
        statistics: float64 (N, 16), in the order of STATISTICS.
        unreadable: the reason, by id, of each image that could not be read.
        size: side in pixels that images are brought to.

    Returns:
        ``formats``, ``modes``, ``bit_depths``: images by name; ``width``, ``height`` (pixels, as stored) and ``aspect``
        (width by height): minimum, median and maximum; ``tiny``: ids of images whose shorter side is below ``size``,
        so that they were enlarged; ``constant``: of one colour; ``truncated``: unreadable because their files end
        too early.
    """
    column = dict(zip(STATISTICS, statistics.T, strict=True))
    deviation = np.max([column[f"sd_{name}"] for name in ("red", "green", "blue")], axis=0)
    return {
        "formats": _counts(headers["format"].astype(str)),
        "modes": _counts(headers["mode"].astype(str)),
        "bit_depths": _counts(headers["bits"].astype(str)),
        "width": _spread(column["width"]),
        "height": _spread(column["height"]),
        "aspect": _spread(column["width"] / column["height"]),
        "tiny": _named(ids, np.minimum(column["width"], column["height"]) < size),
        "constant": _named(ids, deviation < _LEAST_DEVIATION),
        "truncated": [name for name, reason in unreadable.items() if "truncated" in reason],
    }


def _counts(values: npt.NDArray[np.str_]) -> dict[str, int]:
    names, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[place]): int(counts[place]) for place in order}


def _spread(values: npt.NDArray[np.float64]) -> dict[str, float]:
    return {
        name: float(function(values)) for name, function in (("min", np.min), ("median", np.median), ("max", np.max))
    }


def _named(ids: Sequence[str], chosen: npt.NDArray[np.bool_]) -> list[str]:
    return [ids[place] for place in np.flatnonzero(chosen).tolist()]
