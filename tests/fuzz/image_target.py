"""An image file: its bytes to upright RGB pixels; the first byte picks whether a JPEG may be decoded smaller."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hostile_images import byte_samples
from PIL import Image
from refusal import check_refusal

from sslkit.data.reading import read_image
from sslkit.errors import UsageError

_MAX_PIXELS = 1_000_000  # a sound image of more would take seconds of each input's ten

Image.init()  # Pillow loads its plugins at the first image, which would be too late to see into them


def seeds() -> Iterator[bytes]:
    for _, content in byte_samples():
        yield b"\0" + content
        yield b"\1" + content


def attempt(data: bytes) -> None:
    try:
        image = read_image(data[1:], at_least=8 if data[:1] == b"\1" else None, max_pixels=_MAX_PIXELS)
    except UsageError as error:
        check_refusal(error)
        return
    assert image.pixels.dtype == np.uint8
    assert image.pixels.flags["C_CONTIGUOUS"]
    assert image.pixels.ndim == 3
    assert image.pixels.shape[2] == 3
    assert 0 < image.pixels.size <= 3 * _MAX_PIXELS
