"""From the bytes of an image file, of whatever kind, to upright RGB pixels."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

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


def read_image(data: bytes | npt.NDArray[np.uint8], *, at_least: int | None = None) -> DecodedImage:
    """Turn one image into upright RGB pixels.

    The EXIF orientation is applied, transparency becomes black, 16-bit greys are scaled from 0..65535, float greys from
    their own minimum and maximum (a constant is 0), and of an animation the first frame is taken.

    Args:
        data: the bytes of an image file, or uint8 pixels (H, W), (H, W, 1), (H, W, 3), or (H, W, 4) with alpha.
        at_least: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, which is faster, as long as the shorter side
            keeps this many pixels.

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
        pixels = _from_array(data)
        height, width = pixels.shape[:2]
        channels = data.shape[2] if data.ndim == 3 else 1
        return DecodedImage(pixels, width, height, "array", {1: "L", 3: "RGB", 4: "RGBA"}[channels], 8)
    if not data:
        raise DataError("the file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            # What Pillow warns of are metadata that it cannot parse; pixels that it cannot decode are errors already.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height, stored = *image.size, (str(image.format), image.mode, _bits(image))
                if at_least is not None:
                    image.draft(None, (at_least, at_least))
                image.load()
                return DecodedImage(_upright(_to_rgb(image), _orientation(image)), width, height, *stored)
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(_what_it_is(data)) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(
            f"too large: more than {Image.MAX_IMAGE_PIXELS:,} pixels, which may be a decompression bomb"
        ) from error
    except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
        reason = " ".join(str(error).split())
        kind = "truncated" if "truncated" in reason.lower() else "damaged"
        raise DataError(f"the file is {kind}: {type(error).__name__}: {reason}") from error


def _bits(image: Image.Image) -> int:
    """Return the bits of a stored channel; Pillow reads 16-bit colours as 8 bits, but its decoder is told."""
    if image.mode == "1":
        return 1
    if image.mode in ("I", "F"):
        return 32
    if "16" in image.mode:
        return 16
    told = image.format in ("PNG", "TIFF", "PPM") and any(";16" in str(tile) for tile in getattr(image, "tile", ()))
    return 16 if told else 8


def _what_it_is(data: bytes) -> str:
    if data.startswith(b"version https://git-lfs"):
        return "not an image but a Git LFS pointer; fetch the file itself with 'git lfs pull'"
    if data[128:132] == b"DICM":
        return "not an image but a DICOM file; export it as PNG or TIFF"
    if data.lstrip().startswith(b"<"):
        return "not an image but a web page or XML file"
    return f"not an image, or cut off in its header; the formats that are read: {', '.join(FORMATS)}"


def _to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(np.asarray(image))
    if image.mode == "F":
        return _from_float(np.asarray(image))
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        return np.asarray(converted)
    if image.has_transparency_data:
        return _on_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _from_array(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or pixels.size == 0:
        raise DataError(
            f"an array of {pixels.dtype} {pixels.shape} is not an image; accepted: uint8 of shape (H, W), (H, W, 1), "
            "(H, W, 3) or (H, W, 4)"
        )
    if channels == 4:
        return _on_black(pixels)
    if channels == 1:
        return _grey(pixels.reshape(pixels.shape[:2]))
    return np.ascontiguousarray(pixels)


def _from_16_bit(values: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(f"integer pixels from {low} to {high}; accepted: 0 to 65535. Save the image with 8 or 16 bits")
    # 65535 is 255 times 257, an odd number: this rounds to the nearest, and there are no ties.
    return _grey(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


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
