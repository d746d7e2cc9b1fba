"""What an original image shows without a look at its anatomy: shape, colour, sharpness, size."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.data.cropping import MASK_RADIUS
from sslkit.data.reading import DecodedImage
from sslkit.data.retina import Box, thumbnail

Mask = npt.NDArray[np.bool_]

BORDER_SHARE = 0.5 - MASK_RADIUS
"""Width of the border as a share of the side: what the circle of the crop "fundus" never enters."""

STATISTICS = (
    *("box_left", "box_top", "box_right", "box_bottom", "bright_share", "border_brightness"),
    *("mean_red", "mean_green", "mean_blue", "sd_red", "sd_green", "sd_blue"),
    *("sharpness", "width", "height", "bytes"),
)
"""The names of the global statistics, in order."""


def global_statistics(
    image: DecodedImage,
    num_bytes: float = math.nan,
    retina: Box | None = None,
    small: npt.NDArray[np.uint8] | None = None,
) -> dict[str, float]:
    """Return what an original image shows without a look at its anatomy.

    Colours (0..255), sharpness and shapes are taken from the [thumbnail][sslkit.data.retina.thumbnail].

    Args:
        image: decoded to a thumbnail's 256 pixels at least, if it has them.
        num_bytes: size of its file; NaN where it has none.
        retina: the visible retina in the image's pixels; None where there is none.
        small: the thumbnail, where it is made already.

    Returns:
        ``box_left``, ``box_top``, ``box_right``, ``box_bottom``: the visible retina, as shares of width and height
        (the whole image where no retina is found); ``bright_share``: the share of pixels that are not dark surround;
        ``border_brightness``: mean of the outermost 2 %; ``mean_red`` .. ``sd_blue``; ``sharpness``: the variance of
        the Laplacian (Pech-Pacheco et al. 2000); ``width`` and ``height`` as stored; ``bytes``: the file's size, NaN
        for pixels.

    Example:
        >>> statistics = global_statistics(read_image(np.full((20, 30, 3), 7, np.uint8)))
        >>> statistics["width"], statistics["mean_red"], statistics["sharpness"]
        (30.0, 7.0, 0.0)
    """
    pixels = image.pixels
    small = thumbnail(pixels)[0] if small is None else small
    rows, columns = small.shape[:2]
    height, width = pixels.shape[:2]
    left, top, right, bottom = retina or (0.0, 0.0, float(width), float(height))
    planes = np.ascontiguousarray(small.transpose(2, 0, 1))
    colours = planes.reshape(3, -1).astype(np.float64)
    means, deviations = colours.mean(axis=1), colours.std(axis=1)
    return {
        "box_left": left / width,
        "box_top": top / height,
        "box_right": right / width,
        "box_bottom": bottom / height,
        "bright_share": float(silhouette(planes[None]).mean()),
        "border_brightness": float(small[border_mask(rows, columns, BORDER_SHARE)].mean()),
        **{f"mean_{name}": float(value) for name, value in zip(("red", "green", "blue"), means, strict=True)},
        **{f"sd_{name}": float(value) for name, value in zip(("red", "green", "blue"), deviations, strict=True)},
        "sharpness": _laplacian_variance(small),
        "width": float(image.width),
        "height": float(image.height),
        "bytes": float(num_bytes),
    }


def silhouette(views: npt.NDArray[Any]) -> Mask:
    """Return which pixels are not surround: the dark that reaches in from the frame's edge along a row or column.

    Dark is what lies within a tenth of the way from the image's darkest to its brightest hundredth. Dark spots inside
    (a fovea, a haemorrhage) are anatomy and no part of the surround.

    Args:
        views: any real dtype (N, C, H, W).

    Returns:
        bool (N, H, W); turned and flipped as the views are.

    Example:
        >>> view = np.zeros((1, 1, 5, 5)); view[:, :, 1:4, 1:4] = 9; view[:, :, 2, 2] = 0
        >>> silhouette(view)[0].astype(int).sum(axis=1).tolist()
        [0, 3, 3, 3, 0]
    """
    light = functools.reduce(np.maximum, views.swapaxes(0, 1)).astype(np.float32)
    dark, bright = np.percentile(light, [1, 99], axis=(1, 2), keepdims=True)
    dim = light <= dark + (bright - dark) / 10
    surround = np.zeros_like(dim)
    for axis in (1, 2):
        surround |= np.logical_and.accumulate(dim, axis=axis)
        surround |= np.flip(np.logical_and.accumulate(np.flip(dim, axis), axis=axis), axis)
    seen: Mask = ~surround
    return seen


def border_mask(height: int, width: int, share: float) -> Mask:
    """Return true on a frame's outermost ring, whose width is a share of the shorter side: bool (height, width)."""
    ring = max(1, int(share * min(height, width)))
    mask = np.ones((height, width), np.bool_)
    mask[ring:-ring, ring:-ring] = False
    return mask


def _laplacian_variance(pixels: npt.NDArray[np.uint8]) -> float:
    grey = (pixels[..., 0].astype(np.float64) + pixels[..., 1] + pixels[..., 2]) / 3
    if min(grey.shape) < 3:
        return 0.0
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * grey[1:-1, 1:-1]).var())
