"""An image file: its bytes to upright RGB pixels; the first byte picks whether a JPEG may be decoded smaller."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from refusal import check_refusal

from sslkit.data.reading import read_image
from sslkit.errors import UsageError

Image.init()  # Pillow loads its plugins at the first image, which would be too late to see into them


def seeds() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"):
        image = colours.convert("L").convert(mode) if mode in ("I", "I;16", "F") else _converted(colours, mode)
        for kind, options in _KINDS:
            try:
                yield from _saved(image, kind, exif=exif, **options)
            except (OSError, ValueError, KeyError):
                continue  # a format that does not take the mode
    yield b"\0<html>"
    yield b"\0" + b"\0" * 128 + b"DICM"


_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("PNG", {}), ("PNG", {"transparency": 0}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {})),
    *(("GIF", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("PPM", {})),
    *(("TIFF", {"compression": name}) for name in (None, "tiff_lzw", "tiff_deflate", "jpeg", "packbits", "group4")),
)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if mode != "LAB":
        return image.convert(mode)
    return Image.frombytes("LAB", image.size, image.tobytes())


def _saved(image: Image.Image, kind: str, **options: Any) -> Iterator[bytes]:
    file = io.BytesIO()
    image.save(file, kind, **options)
    for first in (b"\0", b"\1"):
        yield first + file.getvalue()


def attempt(data: bytes) -> None:
    try:
        image = read_image(data[1:], at_least=8 if data[:1] == b"\1" else None)
    except UsageError as error:
        check_refusal(error)
        return
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags["C_CONTIGUOUS"]
    assert image.pixels.ndim == 3
    assert image.pixels.shape[2] == 3
    assert image.pixels.size
