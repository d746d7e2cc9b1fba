"""Draws where the evidence lies over the photograph that it was found in."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sslkit.experiment.graded import Graded
from sslkit.files import write_atomically
from sslkit.printable import printable

NO_EVIDENCE = "No place speaks for this grade: there is no heat to draw."
"""What is said where every place speaks against the grade that the models give all the same."""

_LEAST_SIDE = 448
"""Pixels of a picture that a reader can make out lesions in."""

_COLOURS = "plasma"
"""From dark violet over red to yellow: its lightness rises all the way, so that it reads alike without colours, and to
readers who tell red from green badly (van der Walt and Smith, 2015, who tested it for them)."""

_OPACITY = 0.8

_GAP, _CAPTION, _GREY = 8, 60, "#555555"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


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
    large = _smooth(allowed, side)
    if mask is not None:  # whose edge the enlarging has blurred
        large = large * (_smooth(mask, side) >= 0.5)
    return _mix(grey, large)


def _smooth(values: npt.NDArray[Any], side: int) -> npt.NDArray[np.float32]:
    """Return a map (S, S) in 0..1 as one of another side."""
    image = Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image).clip(0, 1)


def _mix(grey: npt.NDArray[np.float32] | float, heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the colours of heat (H, W) over grey (H, W, 1), uint8 (H, W, 3)."""
    opacity = _OPACITY * heat[..., None]
    mixed = (1 - opacity) * grey + opacity * colours()[np.round(255 * heat).astype(np.intp)]
    drawn: npt.NDArray[np.uint8] = np.round(mixed).astype(np.uint8)
    return drawn


def write_picture(folder: Path, path: Path, graded: Graded, mask: npt.NDArray[np.bool_] | None) -> None:
    """Write the picture of an image: as the models saw it, the same with its heat, and what they said.

    Nothing is written of an image that could not be read.
    """
    if graded.square is None or graded.heat is None:
        return
    drawn = overlay(graded.square, graded.heat, mask)
    side = len(drawn)
    sheet = Image.new("RGB", (2 * side + _GAP, side + _CAPTION), "white")
    sheet.paste(enlarge(graded.square, side), (0, 0))
    sheet.paste(Image.fromarray(drawn), (side + _GAP, 0))
    _caption(ImageDraw.Draw(sheet), sheet, graded, side)
    write_atomically(folder / picture_name(path), lambda file: sheet.save(file, "PNG"))


def picture_name(path: Path) -> str:
    """Return the name of an image's picture: its own, and a digest of where it is, which tells two of one name apart.

    Example:
        >>> picture_name(Path("/left/0024.jpg")), picture_name(Path("/right/0024.jpg"))
        ('0024-8582ea22.png', '0024-b26041aa.png')
    """
    digest = hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:8]
    stem = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in path.stem
    )
    return f"{stem[:100]}-{digest}.png"


def _caption(pen: ImageDraw.ImageDraw, sheet: Image.Image, graded: Graded, side: int) -> None:
    answer = graded.answer
    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    shares = answer.probabilities or {}
    said = f"{answer.grade} {answer.grade_name}, p = {shares.get(answer.grade_name or '', 0):.2f}"
    if answer.referable_probability is not None:
        said += f"; referable p = {answer.referable_probability:.2f}"
    top, left = side + 10, side + _GAP + 12
    pen.text((12, top), _fitted(pen, printable(said, keep=""), large, side - 24), "black", large)
    pen.text((12, top + 26), _fitted(pen, printable(Path(answer.image).name, keep=""), small, side - 24), _GREY, small)
    if graded.without_evidence:
        pen.text((left, top + 2), NO_EVIDENCE, "black", small)
    else:
        steps = np.tile(np.linspace(0, 1, 180, dtype=np.float32), (12, 1))
        sheet.paste(Image.fromarray(_mix(110.0, steps)), (left, top + 4))
        pen.text((left + 190, top + 2), "evidence for the grade: none to most", "black", small)
    pen.text((left, top + 26), "Not a medical device. What moved the model, not an outline of a lesion.", _GREY, small)


def _fitted(pen: ImageDraw.ImageDraw, text: str, font: _Font, width: int) -> str:
    """Return text that fits a width, without its end if need be."""
    kept = text[:200]
    while pen.textlength(kept + "..." * (kept != text), font) > width and kept:
        kept = kept[:-1]
    return kept if kept == text else f"{kept}..."


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
