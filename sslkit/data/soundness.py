"""What is asked of an image file before its pixels are decoded: its size, and what Pillow does not ask."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from struct import Struct
from threading import Lock

from PIL import Image, TiffImagePlugin

from sslkit.errors import DataError

MAX_SCANS = 100
"""Passes over the pixels that a JPEG may ask for: honest ones make about ten, a bomb of 1 MB makes thousands."""

MAX_STRIPS = 500_000
"""Strips or tiles that a TIFF may tell of: more than 100 million pixels have in the smallest tiles of 16 by 16."""

MAX_TAGS = 2**16
"""Tags that a TIFF may tell of: as many as there are numbers for them."""

_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")
_TIFFS = {
    b"II*\0": ("<4xL", "<H", "<H2xL4x"),
    b"MM\0*": (">4xL", ">H", ">H2xL4x"),
    b"II+\0": ("<8xQ", "<Q", "<H2xQ8x"),
    b"MM\0+": (">8xQ", ">Q", ">H2xQ8x"),
}
"""How a TIFF begins; the layouts of where its first directory is, of the directory's length, and of a tag in it."""


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
        """Let Pillow refuse what is too large before it takes memory, and keep its warnings to itself."""
        with self._lock:
            if not self._limits:
                self._before.enter_context(warnings.catch_warnings())
                # They are of metadata that cannot be parsed; pixels that cannot be decoded are errors already.
                warnings.filterwarnings("ignore", module="PIL")
                self._before.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            self._limits.append(max_pixels)
            self._set_limit()
        try:
            yield
        finally:
            with self._lock:
                self._limits.remove(max_pixels)
                if self._limits:
                    self._set_limit()
                else:
                    self._before.close()

    def _set_limit(self) -> None:
        Image.MAX_IMAGE_PIXELS = (max(self._limits) + 1) // 2  # Pillow warns above it, and refuses above its double


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


def check_header(data: bytes) -> None:
    """Refuse a file that Pillow would take too much memory or time for when it opens it.

    Raises:
        DataError: if it is a TIFF that tells of more tags than there are, or more strips or tiles than an image has.
    """
    if (directory := _directory(data)) is None:
        return
    start, num_tags, entry = directory
    if num_tags > MAX_TAGS:
        raise DataError(f"the file is damaged: it tells of {num_tags:,} tags; accepted: up to {MAX_TAGS:,}")
    there = min(num_tags, (len(data) - start) // entry.size)
    for tag, count in entry.iter_unpack(memoryview(data)[start : start + there * entry.size]):
        if tag in (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.TILEOFFSETS) and count > MAX_STRIPS:
            raise DataError(f"a decompression bomb: {count:,} strips or tiles; accepted: up to {MAX_STRIPS:,}")


def check_file(data: bytes, image: Image.Image, max_pixels: int) -> None:
    """Refuse what Pillow would take too much memory or time for, or read wrong in silence.

    Args:
        data: an image file.
        image: the same, opened, its pixels not yet loaded.
        max_pixels: the most that it may have.

    Raises:
        DataError: if it has too many pixels, or too few, or damaged ones, or asks for too many passes over them.
    """
    check_size(image.width * image.height, max_pixels)
    if image.format in ("JPEG", "MPO"):
        _check_scans(data)
    elif image.format == "PNG":
        _check_sums(data)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        _check_tiff(image, max_pixels)


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


def ends_early(data: bytes) -> bool:
    """Tell whether a file that cannot be opened is a WebP or TIFF that was longer once."""
    if data[:4] == b"RIFF":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if data[:4] not in _TIFFS:
        return False
    directory = _directory(data)
    return directory is None or len(data) < directory[0] + directory[1] * directory[2].size


def _directory(data: bytes) -> tuple[int, int, Struct] | None:
    """Return the place, the number and the layout of a TIFF's first tags; None where it has none."""
    if data[:4] not in _TIFFS:
        return None
    offset, length, entry = map(Struct, _TIFFS[data[:4]])
    if len(data) < offset.size:
        return None
    (start,) = offset.unpack_from(data)
    if len(data) < start + length.size:
        return None
    (num_tags,) = length.unpack_from(data, start)
    return start + length.size, num_tags, entry


def _check_tiff(image: TiffImagePlugin.TiffImageFile, max_pixels: int) -> None:
    tags = image.tag_v2
    if image.mode == "L" and tags.get(TiffImagePlugin.SAMPLEFORMAT) == (2,):
        raise DataError("signed pixels of 8 bits; accepted: unsigned. Save the image with unsigned pixels")
    width, length = tags.get(TiffImagePlugin.TILEWIDTH, 0), tags.get(TiffImagePlugin.TILELENGTH, 0)
    if not isinstance(width, int) or not isinstance(length, int):
        raise DataError("the file is damaged: the size of its tiles is no whole number")
    check_size(width * length, max_pixels)  # libtiff makes room for a whole tile
    # Compressed ones are libtiff's affair, which misses what is not there.
    boxes = [box for codec, box, *_ in image.tile if codec == "raw" and box is not None]
    planes = len(image.getbands()) if tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2 else 1
    there = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if boxes and there < image.width * image.height * planes:
        raise DataError("the file is truncated: it has fewer strips or tiles of pixels than it needs")
