"""From a decoded photograph to the square that the cache stores.

The crop "fundus" takes the square inside the visible retina and blanks everything outside one circle, the same for
every image. Without that circle a shutter that cuts the retina at top and bottom, or text in a corner, tells a network
how the image was turned without any anatomy.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from sslkit.data.retina import Box, retina_box
from sslkit.errors import did_you_mean

Crop = Literal["fundus", "center", "none"]
_CROPS: tuple[Crop, ...] = ("fundus", "center", "none")

MASK_RADIUS = 0.48
"""Radius of the circle as a share of the square's side: a little inside, for the rim of a retina is soft."""


def crop_and_resize(
    pixels: npt.NDArray[np.uint8], crop: Crop, size: int, box: Box | None = None
) -> npt.NDArray[np.uint8]:
    """Cut a square out of an image and resize it, with antialiasing.

    Args:
        pixels: uint8 (H, W, 3).
        crop: "fundus": the largest square centred in the visible retina's box, black outside `circular_mask`;
            "center": the central square; "none": the whole image, whose aspect is not kept.
        size: side of the result in pixels.
        box: the visible retina, where it is known already; by default the crop "fundus" looks for it.

    Returns:
        uint8 (size, size, 3).

    Raises:
        DataError: if the crop is "fundus" and the image shows no retina.
        ValueError: if the crop is unknown.

    Example:
        >>> crop_and_resize(np.full((30, 40, 3), 7, np.uint8), "center", 8).shape
        (8, 8, 3)
    """
    height, width = pixels.shape[:2]
    whole = (0.0, 0.0, float(width), float(height))
    if crop == "none":
        return _resize(pixels, whole, size)
    if crop == "center":
        return _resize(pixels, _inner_square(whole), size)
    if crop == "fundus":
        square = _resize(pixels, _inner_square(box or retina_box(pixels)), size)
        square *= circular_mask(size)[..., None]
        return square
    raise ValueError(f"unknown crop {crop!r}{did_you_mean(str(crop), _CROPS)}; accepted: {', '.join(_CROPS)}")


def circular_mask(size: int) -> npt.NDArray[np.bool_]:
    """Return the circle that the crop "fundus" leaves visible.

    Args:
        size: side of the image in pixels.

    Returns:
        bool (size, size), true inside; the same under every turn by 90 degrees and every flip.

    Example:
        >>> circular_mask(4).astype(int).tolist()
        [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    """
    from_centre = np.arange(size) + 0.5 - size / 2
    mask: npt.NDArray[np.bool_] = from_centre[:, None] ** 2 + from_centre**2 <= (MASK_RADIUS * size) ** 2
    return mask


def _inner_square(box: Box) -> Box:
    left, top, right, bottom = box
    half = min(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return (x - half, y - half, x + half, y + half)


def _resize(pixels: npt.NDArray[np.uint8], box: Box, size: int) -> npt.NDArray[np.uint8]:
    # The gap lets Pillow shrink by whole factors first; at 3 the result is as good as without and much faster.
    image = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.array(image)
