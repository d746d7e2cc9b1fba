"""DICOM files that are deflated as a whole, of which a small one may be a bomb."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from sslkit_dicom.grey import Unreadable

MAX_INFLATED = 2**30
"""The most bytes that a file may be inflated to: as many as one that is not deflated may have."""

_CHUNK = 2**16


def check_inflated_size(file: BinaryIO) -> None:
    """Refuse a file that would be inflated beyond what memory can be expected to hold; leave it at its beginning.

    Raises:
        Unreadable: if it would.
    """
    read_preamble(file, force=False)
    meta = read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag.group != 2
    )
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian and _inflates_beyond(file, MAX_INFLATED):
        raise Unreadable(f"too large: it is inflated to more than {MAX_INFLATED:,} bytes")
    file.seek(0)


def _inflates_beyond(file: BinaryIO, limit: int) -> bool:
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := file.read(_CHUNK):
        while chunk:
            total += len(inflater.decompress(chunk, _CHUNK))
            if total > limit:
                return True
            chunk = inflater.unconsumed_tail
    return False
