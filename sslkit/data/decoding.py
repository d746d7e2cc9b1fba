"""Decodes images into arrays on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from sslkit.blame import Provenance, blame, refuse
from sslkit.data.image_statistics import STATISTICS
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.read_ahead import read_ahead
from sslkit.errors import DataError, StorageError
from sslkit.interfaces import Dataset
from sslkit.types import Record

HEADER = np.dtype([("format", "S8"), ("mode", "S8"), ("bits", "u1")])
"""What a file says of itself: Pillow's format and mode, and a channel's bits."""

CHUNK = 16
"""Images that a process decodes at a time."""


class Failure(TypedDict):
    """Why an image is unreadable, and whether another try may read it."""

    reason: str
    passing: bool


def allocate(folder: Path, count: int, size: int) -> None:
    """Make ``images.npy``, ``statistics.npy`` and ``headers.npy`` of so many images that are yet to be decoded.

    Raises:
        StorageError: if the disk is full.
    """
    _allocate(folder / "images.npy", (count, size, size, 3), np.uint8)
    _allocate(folder / "statistics.npy", (count, len(STATISTICS)), np.float64)[:] = np.nan
    _allocate(folder / "headers.npy", (count,), HEADER)


def _allocate(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a new array on disk, of zeros, whose blocks are taken at once: a full disk is told here.

    Later, on a page that is written to, it would be a fatal signal.
    """
    try:
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise StorageError.of(path, error) from error
    return array


def decode_chunk(
    dataset: Dataset[Any], records: Sequence[Record], preprocessing: Preprocessing, folder: Path, start: int
) -> tuple[int, dict[int, Failure]]:
    """Decode some images into the rows from ``start`` on; return their number, and those that could not be read."""
    images = np.lib.format.open_memmap(folder / "images.npy", mode="r+")
    statistics = np.lib.format.open_memmap(folder / "statistics.npy", mode="r+")
    headers = np.lib.format.open_memmap(folder / "headers.npy", mode="r+")
    unreadable: dict[int, Failure] = {}
    for row, read in enumerate(read_ahead(partial(_read, dataset), records), start):
        try:
            content = read()
            images[row], image, found = preprocessing.look(content)
            statistics[row] = list(found.values())
            headers[row] = (image.format, image.mode, image.bits)
        except (DataError, OSError) as error:
            # A disk or a network may answer the next time; a damaged image stays damaged.
            unreadable[row] = {"reason": " ".join(str(error).split()), "passing": isinstance(error, OSError)}
    images.flush()
    statistics.flush()
    headers.flush()
    return len(records), unreadable


def _read(dataset: Dataset[Any], record: Record) -> bytes | npt.NDArray[np.uint8]:
    with blame(dataset.provenance, "read()", contract=(DataError, OSError)):
        content = dataset.read(record)
    return _checked(dataset.provenance, "read()", content, record.id)


def decode_file(
    dataset: type[Dataset[Any]], provenance: Provenance, content: bytes, max_pixels: int
) -> bytes | npt.NDArray[np.uint8]:
    """Return what a file holds that may be in a data set's own format: the bytes of an image file, or pixels.

    Args:
        dataset: the class; no data set is made of it, since its images may be far away.
        provenance: where it comes from.
        content: the bytes of the file.
        max_pixels: the most pixels of an image.

    Raises:
        DataError: if it is damaged.
        PluginError: if the data set fails, or answers with something else.
    """
    with blame(provenance, "decode()", contract=(DataError, OSError)):
        decoded = dataset.decode(content, max_pixels)
    return _checked(provenance, "decode()", decoded)


def _checked(
    provenance: Provenance, call: str, content: object, name: str | None = None
) -> bytes | npt.NDArray[np.uint8]:
    if isinstance(content, bytes | np.ndarray):
        return content
    given = type(content).__name__ + ("" if name is None else f" for the image {name!r}")
    raise refuse(provenance, call, given, "the bytes of an image file, or an array of pixels")
