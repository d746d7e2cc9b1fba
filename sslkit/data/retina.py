"""Finding the retina of a fundus photograph against its dark surround."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import label, uniform_filter

from sslkit.errors import DataError

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; fractions allowed."""

THUMBNAIL_SIDE = 256
"""Pixels of a thumbnail's longer side, at most."""

_LEAST_CONTRAST = 10.0
_LEAST_AREA = 0.02
_LEAST_FILL = 0.55
_LEAST_CHORD = 0.12
_ADVICE = 'use crop = "center" or "none" if these are not fundus photographs'


def thumbnail(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], int]:
    """Return a copy of at most 256 pixels a side, each the mean of a square, and the side of those squares.

    Args:
        pixels: uint8 (H, W, 3).

    Example:
        >>> small, factor = thumbnail(np.zeros((300, 600, 3), np.uint8))
        >>> small.shape, factor
        ((100, 200, 3), 3)
    """
    factor = max(1, -(-max(pixels.shape) // THUMBNAIL_SIDE))
    return np.asarray(Image.fromarray(pixels).reduce(factor)), factor


def retina_box(pixels: npt.NDArray[np.uint8], small: tuple[npt.NDArray[np.uint8], int] | None = None) -> Box:
    """Find the visible part of the retina.

    The search runs on the `thumbnail`. Foreground is what is brighter than the corners by more than the
    level at which the image is steepest; its most massive connected part, less the rows and columns that it hardly
    enters (a notch, a hair), is the retina. An image without a dark surround is retina from edge to edge.

    Args:
        pixels: uint8 (H, W, 3).
        small: their thumbnail, where it is made already.

    Returns:
        The bounding box of the visible retina, in pixels of the image.

    Raises:
        DataError: if the image is of one colour, nearly black, or shows nothing but a small bright spot.
    """
    height, width = pixels.shape[:2]
    view, factor = small or thumbnail(pixels)
    light = _box_mean(np.maximum(np.maximum(view[..., 0], view[..., 1]), view[..., 2]).astype(np.float32), radius=1)
    dimmest, brightest = (float(value) for value in np.percentile(light, [1, 99]))
    if brightest < _LEAST_CONTRAST or brightest - dimmest < _LEAST_CONTRAST / 2:
        kind = "nearly black" if brightest < _LEAST_CONTRAST else "of one colour"
        raise DataError(
            f"no retina found: the image is {kind} (brightness {dimmest:.0f} to {brightest:.0f} of 255); {_ADVICE}"
        )
    level = _surround_level(light)
    whole = (0.0, 0.0, float(width), float(height))
    if level is None:
        return whole
    retina = _main_part(light > level)
    if retina.mean() < _LEAST_AREA:
        raise DataError(
            f"no retina found: what is brighter than the surround covers {retina.mean():.1%} of the image; {_ADVICE}"
        )
    (left, right), (top, bottom) = _extent(retina.sum(axis=0)), _extent(retina.sum(axis=1))
    # A disc fills 0.79 of its box, and more of it when cut: a ragged part is texture of an image without a surround.
    if retina[top:bottom, left:right].mean() < _LEAST_FILL:
        return whole
    # The last row and column of the copy may stand for fewer pixels than the others.
    return (
        float(left * factor),
        float(top * factor),
        float(min(right * factor, width)),
        float(min(bottom * factor, height)),
    )


def _surround_level(light: npt.NDArray[np.float32]) -> float | None:
    """Return the brightness that parts retina from surround, or None where there is no darker surround."""
    if min(light.shape) < 8:
        return None
    corner = max(2, min(light.shape) // 16)
    ends = (slice(None, corner), slice(-corner, None))
    corners = sorted(float(np.median(light[rows, columns])) for rows in ends for columns in ends)
    # The second darkest of four: two corners may hold text, and one a black label.
    dark = corners[1]
    bright = float(np.percentile(light[light > (dark + float(light.max())) / 4], 60))
    if bright - dark < _LEAST_CONTRAST:
        return None
    # A vignette is dim inside the rim and haze is bright outside it, so that no fixed level serves both. What they
    # share is the rim's steepness: the mean gradient of the pixels at each twentieth of the way from dark to bright.
    down, right = np.gradient(light)
    steepness = np.hypot(down, right).ravel()
    twentieths = np.round(np.clip((light - dark) / (bright - dark), 0, 1) * 20).astype(np.intp).ravel()
    mean_steepness = np.bincount(twentieths, steepness, 21) / np.maximum(np.bincount(twentieths, minlength=21), 1)
    return dark + (2 + int(np.argmax(mean_steepness[2:12]))) / 20 * (bright - dark)


def _main_part(foreground: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the connected part in which the foreground is most massive, without specks and thin strokes."""
    foreground = _majority(foreground)
    step = max(1, min(foreground.shape) // 64)  # where the mass is greatest need not be known to the pixel
    coarse = foreground[::step, ::step]
    mass = _box_mean(coarse.astype(np.float32), radius=min(foreground.shape) // (8 * step))
    row, column = np.unravel_index(int(np.argmax(mass * coarse)), coarse.shape)
    parts, _ = label(foreground)
    part: npt.NDArray[np.bool_] = (parts == parts[row * step, column * step]) & foreground
    return part


def _majority(values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return whether most pixels of the square of five by five around each are true, with the edges repeated."""
    padded = np.pad(values, 2, mode="edge").astype(np.uint8)
    height, width = values.shape
    rows = sum((padded[k : k + height] for k in range(1, 5)), padded[:height])
    counts = sum((rows[:, k : k + width] for k in range(1, 5)), rows[:, :width])
    most: npt.NDArray[np.bool_] = counts > 12
    return most


def _extent(counts: npt.NDArray[np.intp]) -> tuple[int, int]:
    """Return the first and past-the-last row or column that holds a fair share of what the fullest one holds."""
    held = np.flatnonzero(counts >= _LEAST_CHORD * counts.max())
    return int(held[0]), int(held[-1]) + 1


def _box_mean(values: npt.NDArray[np.float32], radius: int) -> npt.NDArray[np.float32]:
    """Return the mean over squares of 2 radius + 1 pixels, with the edges repeated outwards."""
    mean: npt.NDArray[np.float32] = uniform_filter(values, 2 * radius + 1, mode="nearest")
    return mean
