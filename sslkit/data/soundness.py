"""What is asked of an image file before its pixels are decoded: its size, and what Pillow does not ask."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock

from PIL import Image, TiffImagePlugin

from sslkit.errors import DataError

MAX_SCANS = 100
"""Passes over the pixels that a JPEG may ask for: honest ones make about ten, a bomb of 1 MB makes thousands."""

_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")


class _Pillow:
    """What is one for the whole process, Pillow's limit and the filters of warnings, while any thread decodes.

    The first thread that comes sets them, and the last that leaves puts them back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._limits: list[int] = []
        self._before = ExitStack()

    @contextmanager
    def limited_to(self, max_pixels: int) -> Iterator[None]:
        """Let Pillow itself refuse what is more than twice too large, and keep its warnings to itself."""
        with self._lock:
            if not self._limits:
                self._before.enter_context(warnings.catch_warnings())
                # They are of metadata that cannot be parsed; pixels that cannot be decoded are errors already.
                warnings.filterwarnings("ignore", module="PIL")
                self._before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            self._limits.append(max_pixels)
            Image.MAX_IMAGE_PIXELS = max(self._limits)
        try:
            yield
        finally:
            with self._lock:
                self._limits.remove(max_pixels)
                if self._limits:
                    Image.MAX_IMAGE_PIXELS = max(self._limits)
                else:
                    self._before.close()


PILLOW = _Pillow()


def check_size(num_pixels: int, max_pixels: int) -> None:
    """Refuse an image of too many pixels.

    Raises:
        DataError: with its size, the limit, and the key that raises it.
    """
    if num_pixels > max_pixels:
        raise too_large(num_pixels, max_pixels)


def too_large(num_pixels: int, max_pixels: int) -> DataError:
    """Return the error for an image of too many pixels."""
    return DataError(
        f"too large: {num_pixels:,} pixels; accepted: up to {max_pixels:,}. If it is no decompression bomb, raise "
        "images.max_pixels"
    )


def check_file(data: bytes, image: Image.Image) -> None:
    """Refuse what Pillow would decode for hours, or read wrong in silence.

    Args:
        data: an image file.
        image: the same, opened, its pixels not yet loaded.

    Raises:
        DataError: if it asks for too many passes over its pixels, has not all of them, or has damaged ones.
    """
    if image.format in ("JPEG", "MPO"):
        _check_scans(data)
    elif image.format == "PNG":
        _check_sums(data)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiff(image)


def _check_scans(data: bytes) -> None:
    if (scans := len(_SCAN.findall(data))) > MAX_SCANS:
        raise DataError(f"a decompression bomb: {scans:,} passes over its pixels; accepted: up to {MAX_SCANS}")


def _check_sums(data: bytes) -> None:
    """Refuse a PNG whose pixels do not have their checksum; Pillow looks at that of the other chunks alone."""
    view, start = memoryview(data), 8
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, start)
        end = start + 8 + length
        if kind == b"IDAT" and end + 4 <= len(data) and zlib.crc32(view[start + 4 : end]) != _number(data, end):
            raise DataError("the file is damaged: a chunk of its pixels does not have its checksum")
        start = end + 4


def _number(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 4], "big")


def _check_tiff(image: TiffImagePlugin.TiffImageFile) -> None:
    if image.mode == "L" and image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT) == (2,):
        raise DataError("signed pixels of 8 bits; accepted: unsigned. Save the image with unsigned pixels")
    # Compressed ones are libtiff's affair, which misses what is not there.
    boxes = [box for codec, box, *_ in image.tile if codec == "raw" and box is not None]
    planes = len(image.getbands()) if image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 else 1
    there = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if boxes and there < image.width * image.height * planes:
        raise DataError("the file is truncated: it has fewer strips or tiles of pixels than it needs")
