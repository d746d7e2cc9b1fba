"""From a DICOM file to uint8 pixels.

Only what describes pixels is read from a file, so that no message can quote what it says of a patient.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL, JPEGTransferSyntaxes
from pydicom.uid import JPEG2000TransferSyntaxes as JPEG2000Syntaxes
from pydicom.uid import JPEGLSTransferSyntaxes as JPEGLSSyntaxes

import sslkit
from sslkit.errors import DataError
from sslkit_dicom.deflated import check_inflated_size
from sslkit_dicom.grey import TAGS as GREY_TAGS
from sslkit_dicom.grey import Unreadable, is_little_endian, look_up, present

GREY = ("MONOCHROME1", "MONOCHROME2")
RGB = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"
COLOURS = ("Red", "Green", "Blue")

_TAGS = [
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in COLOURS),
    *GREY_TAGS,
]


def read_pixels(path: Path, max_pixels: int = sslkit.Dataset.max_pixels) -> npt.NDArray[np.uint8]:
    """Read the first frame of a DICOM file.

    Args:
        path: the file.
        max_pixels: a frame of more is refused before it is decoded.

    Returns:
        uint8 (H, W) of a grey image, dark to bright whatever its photometric interpretation; (H, W, 3), RGB, of a
        colour image.

    Raises:
        OSError: if it cannot be read, for whatever reason; the message names the file.
    """
    try:
        return decode_pixels(sslkit.read_file(path), max_pixels)
    except DataError as error:
        raise OSError(f"{path.name}: {error}") from error


def decode_pixels(content: bytes, max_pixels: int = sslkit.Dataset.max_pixels) -> npt.NDArray[np.uint8]:
    """Do as [read_pixels][sslkit_dicom.pixels.read_pixels] does with the bytes of a file.

    Raises:
        DataError: if they cannot be read, for whatever reason.
    """
    with warnings.catch_warnings():
        # What pydicom warns of are headers that contradict the pixels, which it then follows.
        warnings.simplefilter("ignore")
        try:
            stream = BytesIO(content)
            check_inflated_size(stream)
            return _to_uint8(dcmread(stream, specific_tags=list(_TAGS)), max_pixels)
        except Unreadable as error:
            raise DataError(str(error)) from error
        except Exception as error:  # damaged files make pydicom raise nearly anything
            reason = " ".join(str(error).split())
            raise DataError(f"the file is damaged: {type(error).__name__}: {reason}") from error


def _to_uint8(data: Dataset, max_pixels: int) -> npt.NDArray[np.uint8]:
    if "Rows" not in data:
        raise Unreadable("it holds no image, or is cut off in its header")
    photometric = str(data.get("PhotometricInterpretation", ""))
    if photometric not in (*GREY, *RGB, PALETTE):
        raise Unreadable(
            f"its photometric interpretation is {photometric!r}; accepted: {', '.join((*GREY, *RGB, PALETTE))}"
        )
    stored = _decode(data, max_pixels)
    if photometric in GREY:
        return present(stored, data)
    if photometric == PALETTE:
        return _scale(_paint(stored, data), int(data.RedPaletteColorLookupTableDescriptor[2]))
    return _scale(stored, int(data.BitsStored))


def _paint(stored: npt.NDArray[Any], data: Dataset) -> npt.NDArray[Any]:
    """Return the colours (H, W, 3) that a palette gives to stored values."""
    if "RedPaletteColorLookupTableData" not in data:
        painted: npt.NDArray[Any] = apply_color_lut(stored, data)[..., :3]
        return painted
    channels = []
    for colour in COLOURS:
        table = f"{colour}PaletteColorLookupTable"
        descriptor, entries = data[f"{table}Descriptor"].value, data[f"{table}Data"].value
        channels.append(look_up(stored, descriptor, entries, little_endian=is_little_endian(data))[0])
    return np.stack(channels, axis=-1)


def _decode(data: Dataset, max_pixels: int) -> npt.NDArray[Any]:
    """Return the stored values (H, W) or (H, W, 3) of the first frame; YBR is RGB by then."""
    num_pixels = int(data.Rows) * int(data.Columns)
    if num_pixels > max_pixels:
        raise Unreadable(
            f"too large: {num_pixels:,} pixels a frame; accepted: up to {max_pixels:,}. If that is right, raise "
            "images.max_pixels"
        )
    syntax = UID(data.file_meta.TransferSyntaxUID)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Unreadable(f"its transfer syntax is {syntax.name}, which pydicom does not decode") from None
    if not decoder.is_available:
        raise Unreadable(
            f"compressed as {syntax.name}, which pydicom decodes only with another package: {_advice(syntax)}"
        )
    try:
        stored: npt.NDArray[Any] = pixel_array(data, index=0)
    except RuntimeError as error:
        if not syntax.is_compressed:
            raise
        reason = " ".join(str(error).split()).rpartition(" plugins: ")[2]
        raise Unreadable(
            f"compressed as {syntax.name}, and damaged or beyond the decoders that are installed ({reason}); "
            f"for another one: {_advice(syntax)}"
        ) from error
    if stored.shape[2:] != ((3,) if data.PhotometricInterpretation in RGB else ()):
        raise Unreadable(f"{data.PhotometricInterpretation} with pixels of shape {stored.shape}")
    return stored


def _advice(syntax: UID) -> str:
    if syntax in (HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL):
        return "pip install pylibjpeg pylibjpeg-openjpeg"
    if syntax in (*JPEGTransferSyntaxes, *JPEGLSSyntaxes, *JPEG2000Syntaxes):
        return "pip install python-gdcm"
    return "see pydicom's guide to compressed pixel data"


def _scale(values: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint8]:
    """Bring colours of some bits to 8, to the nearest."""
    if values.dtype == np.uint8 and bits == 8:
        return np.ascontiguousarray(values)
    scaled = np.floor(values * (255 / (2**bits - 1)) + 0.5)
    clipped: npt.NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return clipped
