"""Pictures as files that are small enough, all together, to stand in one page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
"""uint8 (H, W) in grey or (H, W, 3) in RGB."""

_QUALITY = 88

_SIZES = ((224, 64), (160, 64), (128, 64), (96, 48), (80, 32), (64, 16))
"""Longest side of a picture, and that up to which it is kept bit for bit: tried in turn until all fit."""


@dataclass(frozen=True)
class Encoded:
    """A picture as a file, without any metadata.

    Attributes:
        content: JPEG, or PNG where it is small.
        suffix: of the file's name.
        width: in pixels.
        height: in pixels.
    """

    content: bytes
    suffix: str
    width: int
    height: int


def encode_all(pictures: Sequence[Pixels], most_bytes: int) -> list[Encoded]:
    """Return pictures as files, as large as together they may be; the smallest size is taken whatever it comes to."""
    encoded: list[Encoded] = []
    for longest, lossless in _SIZES:
        encoded = [encode(picture, longest, lossless) for picture in pictures]
        if sum(len(file.content) for file in encoded) <= most_bytes:
            break
    return encoded


def encode(picture: Pixels, longest: int, lossless: int) -> Encoded:
    """Return a picture as a file: shrunk where a side is longer than ``longest``, never enlarged.

    Args:
        picture: the pixels.
        longest: side in pixels.
        lossless: a picture with no longer side is kept bit for bit.

    Example:
        >>> [encode(np.zeros((side, side), np.uint8), 224, 64).suffix for side in (64, 65)]
        ['.png', '.jpg']
    """
    image = Image.fromarray(picture)
    buffer = io.BytesIO()
    if max(image.size) <= lossless:
        image.save(buffer, "PNG", optimize=True)
        return Encoded(buffer.getvalue(), ".png", *image.size)
    if max(image.size) > longest:
        scale = longest / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return Encoded(buffer.getvalue(), ".jpg", *image.size)
