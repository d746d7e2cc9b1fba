"""Draws where the evidence lies over the photograph that it was found in."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sslkit.experiment.graded import Graded
from sslkit.files import write_atomically

_LEAST_SIDE = 448
"""Pixels of a picture that a reader can make out lesions in."""

_COLOURS = "plasma"
"""From dark violet over red to yellow: its lightness rises all the way, so that it reads alike without colours, and to
readers who tell red from green badly (van der Walt and Smith, 2015, who tested it for them)."""

_OPACITY = 0.75


def overlay(
    square: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.uint8]:
    """Draw heat over a photograph: the more, the more opaque; the photograph beneath is grey.

    Colours of the photograph would mix with those of the heat, and be read as heat.

    Args:
        square: uint8 (S, S, 3).
        heat: float32 (S, S) in 0..1.
        mask: bool (S, S), where heat may be drawn; None: everywhere.

    Returns:
        uint8 (S', S', 3), where S' is S, but at least 448.
    """
    side = max(len(square), _LEAST_SIDE)
    grey = np.asarray(enlarge(square, side).convert("L"), dtype=np.float32)[..., None]
    allowed = heat if mask is None else heat * mask
    large = np.asarray(Image.fromarray(allowed.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
    large = large.clip(0, 1)
    if mask is not None:  # enlarging blurs its edge
        large = large * np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
    opacity = _OPACITY * np.sqrt(large)[..., None]
    mixed = (1 - opacity) * grey + opacity * colours()[np.round(255 * large).astype(np.intp)]
    drawn: npt.NDArray[np.uint8] = np.round(mixed).astype(np.uint8)
    return drawn


def write_picture(folder: Path, path: Path, graded: Graded, mask: npt.NDArray[np.bool_] | None) -> None:
    """Write the picture of an image, if it has heat."""
    if graded.square is None or graded.heat is None:
        return
    picture = Image.fromarray(overlay(graded.square, graded.heat, mask))
    write_atomically(folder / f"{path.stem}.png", lambda file: picture.save(file, "PNG"))


def enlarge(square: npt.NDArray[np.uint8], side: int) -> Image.Image:
    """Return a photograph with at least this many pixels a side."""
    image = Image.fromarray(square)
    return image if len(square) >= side else image.resize((side, side), Image.Resampling.BICUBIC)


@cache
def colours() -> npt.NDArray[np.float32]:
    """Return the colour of each of 256 steps of heat, float32 (256, 3) in 0..255."""
    from matplotlib import colormaps  # half a second, and only where heat is drawn

    table: npt.NDArray[np.float32] = 255 * colormaps[_COLOURS](np.arange(256))[:, :3].astype(np.float32)
    return table
