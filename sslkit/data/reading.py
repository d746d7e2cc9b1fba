"""From the bytes of an image file, of whatever kind, to upright RGB pixels."""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from sslkit.config.schema import MAX_PIXELS
from sslkit.data.soundness import PILLOW, check_file, check_header, check_size, ends_early, too_large
from sslkit.errors import DataError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
"""The formats that are read: those whose decoders refuse a truncated file and start no other program."""

_STEPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""EXIF orientation to the steps through rows and columns; from 5 on they follow a transposition."""


@dataclass(frozen=True)
class DecodedImage:
    """Upright RGB pixels, and what the file said of itself.

    Attributes:
        pixels: uint8 (H, W, 3), contiguous.
        width: in pixels, as stored.
        height: in pixels, as stored.
        format: such as ``"JPEG"``; ``"array"`` for pixels that came as they are.
        mode: Pillow's name of the stored pixels: ``"RGB"``, ``"L"``, ``"P"``, ``"CMYK"``, ``"I;16"``.
        bits: a stored channel's, such as 8.
    """

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    format: str
    mode: str
    bits: int


def read_image(
    data: bytes | npt.NDArray[np.uint8], *, at_least: int | None = None, max_pixels: int = MAX_PIXELS
) -> DecodedImage:
    """Turn one image into upright RGB pixels.

    The EXIF orientation is applied, transparency becomes black, 16-bit greys are scaled from 0..65535, float greys from
    their own minimum and maximum (a constant is 0), and of an animation or of several pages the first is taken.
    An ICC profile is ignored, as the loaders of other toolkits do: those of cameras are mostly sRGB's, and a network
    that met one data set's colours converted and another's not would learn the difference. Four inks in a JPEG are
    taken to be inverted, as Adobe's programs write them.

    Args:
        data: the bytes of an image file, or uint8 pixels (H, W), (H, W, 1), (H, W, 3), or (H, W, 4) with alpha.
        at_least: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, which is faster, as long as the shorter side
            keeps this many pixels.
        max_pixels: an image of more is refused before its pixels take any memory.

    Returns:
        The image; its pixels may be the array that was given.

    Raises:
        DataError: if it cannot be read; the message is a reason in one line, without the image's name.

    Example:
        >>> image = read_image(np.zeros((2, 5), np.uint8))
        >>> image.pixels.shape, image.width, image.mode
        ((2, 5, 3), 5, 'L')
    """
    if isinstance(data, np.ndarray):
        pixels = _from_array(data, max_pixels)
        height, width = pixels.shape[:2]
        channels = data.shape[2] if data.ndim == 3 else 1
        return DecodedImage(pixels, width, height, "array", {1: "L", 3: "RGB", 4: "RGBA"}[channels], 8)
    if not data:
        raise DataError("the file is empty (0 bytes)")
    check_header(data)
    try:
        with PILLOW.limited_to(max_pixels), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height, bits = *image.size, _bits(image)
            stored = (str(image.format), image.mode, bits)
            check_file(data, image, max_pixels)
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            return DecodedImage(_upright(_to_rgb(image, bits), _orientation(image)), width, height, *stored)
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(_what_it_is(data)) from error
    except Image.DecompressionBombError as error:
        size = re.search(r"\d+", str(error))  # which Pillow tells nowhere else
        raise too_large(int(size[0]) if size else 2 * max_pixels, max_pixels) from error
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        reason = " ".join(str(error).split())
        kind = "truncated" if "truncated" in reason.lower() or ends_early(data) else "damaged"
        raise DataError(f"the file is {kind}: {type(error).__name__}: {reason}") from error


def _bits(image: Image.Image) -> int:
    """Return the bits of a stored channel; Pillow reads 16-bit colours as 8 bits, but its decoder is told."""
    if image.mode == "1":
        return 1
    if image.mode in ("I", "F"):
        return 32
    if image.format not in ("PNG", "TIFF", "PPM"):
        return 8
    told = " ".join(map(str, getattr(image, "tile", ())))
    return 12 if ";12" in told else 16 if ";16" in told or "16" in image.mode else 8


def _what_it_is(data: bytes) -> str:
    if ends_early(data):
        return "the file is truncated: it ends before what its header tells of"
    if data.startswith(b"version https://git-lfs"):
        return "not an image but a Git LFS pointer; fetch the file itself with 'git lfs pull'"
    if data[128:132] == b"DICM":
        return (
            "not an image but a DICOM file, which is read where the data set is 'dicom'; else export it as PNG or TIFF"
        )
    if data.lstrip().startswith(b"<"):
        return "not an image but a web page or XML file"
    return f"not an image, or cut off in its header; the formats that are read: {', '.join(FORMATS)}"


def _to_rgb(image: Image.Image, bits: int) -> npt.NDArray[np.uint8]:
    if image.mode == "I" or image.mode.startswith("I;16"):
        values, white = np.asarray(image), 4095 if bits == 12 else 65535
        return _from_16_bit(white - values if _is_negative(image) else values, white)
    if image.mode == "F":
        return _from_float(-np.asarray(image) if _is_negative(image) else np.asarray(image))
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        return np.asarray(converted)
    if image.has_transparency_data:
        return _on_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _is_negative(image: Image.Image) -> bool:
    """Tell whether the lowest value of a TIFF is white, which Pillow heeds for pixels of up to 8 bits alone."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    return bool(tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0)


def _from_array(pixels: npt.NDArray[np.uint8], max_pixels: int) -> npt.NDArray[np.uint8]:
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or pixels.size == 0:
        raise DataError(
            f"an array of {pixels.dtype} {pixels.shape} is not an image; accepted: uint8 of shape (H, W), (H, W, 1), "
            "(H, W, 3) or (H, W, 4)"
        )
    check_size(pixels.shape[0] * pixels.shape[1], max_pixels)
    if channels == 4:
        return _on_black(pixels)
    if channels == 1:
        return _grey(pixels.reshape(pixels.shape[:2]))
    return np.ascontiguousarray(pixels)


def _from_16_bit(values: npt.NDArray[np.integer], white: int) -> npt.NDArray[np.uint8]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > white:
        raise DataError(
            f"integer pixels from {low} to {high}; accepted: 0 to {white}. Save the image with 8 or 16 bits"
        )
    # White is an odd number of times 15 or 255: this rounds to the nearest, and there are no ties.
    return _grey(((values.astype(np.uint32) * 510 + white) // (2 * white)).astype(np.uint8))


def _from_float(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise DataError("float pixels that are infinite or not a number")
    offset = values.astype(np.float64) - values.min()
    span = offset.max()
    return _grey(np.round(offset * (255 / span) if span > 0 else offset).astype(np.uint8))


def _on_black(rgba: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    product = rgba[..., :3].astype(np.uint16) * rgba[..., 3:]
    return ((product + 127) // 255).astype(np.uint8)


def _grey(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(values[..., None], 3, axis=2)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, OSError, LookupError, TypeError, struct.error):
        # A block of EXIF that cannot be parsed says nothing; every viewer shows such an image as it is stored.
        return 1
    return value if value in _STEPS else 1


def _upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    down, right = _STEPS.get(orientation, (1, 1))
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    return np.ascontiguousarray(turned[::down, ::right])
