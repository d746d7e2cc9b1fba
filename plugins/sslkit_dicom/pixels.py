"""From a DICOM file to uint8 pixels.

Only what describes pixels is read from a file, so that no message can quote what it says of a patient.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
from pydicom.uid import HTJ2K, UID, HTJ2KLossless, HTJ2KLosslessRPCL, JPEGTransferSyntaxes
from pydicom.uid import JPEG2000TransferSyntaxes as JPEG2000Syntaxes
from pydicom.uid import JPEGLSTransferSyntaxes as JPEGLSSyntaxes

from sslkit_dicom.grey import TAGS as GREY_TAGS
from sslkit_dicom.grey import Unreadable, present

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"

_TAGS = [
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *(f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *GREY_TAGS,
]


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    """Read the first frame of a DICOM file.

    Args:
        path: the file.

    Returns:
        uint8 (H, W) of a grey image, dark to bright whatever its photometric interpretation; (H, W, 3), RGB, of a
        colour image.

    Raises:
        OSError: if it cannot be read, for whatever reason; the message names the file.
    """
    with warnings.catch_warnings():
        # What pydicom warns of are headers that contradict the pixels, which it then follows.
        warnings.simplefilter("ignore")
        try:
            return _to_uint8(dcmread(path, specific_tags=list(_TAGS)))
        except OSError:
            raise
        except Unreadable as error:
            raise OSError(f"{path.name}: {error}") from error
        except Exception as error:  # damaged files make pydicom raise nearly anything
            reason = " ".join(str(error).split())
            raise OSError(f"{path.name}: the file is damaged: {type(error).__name__}: {reason}") from error


def _to_uint8(data: Dataset) -> npt.NDArray[np.uint8]:
    photometric = str(data.get("PhotometricInterpretation", ""))
    if photometric not in (*GREY, *COLOUR, PALETTE):
        raise Unreadable(
            f"its photometric interpretation is {photometric!r}; accepted: {', '.join((*GREY, *COLOUR, PALETTE))}"
        )
    stored = _decode(data)
    if photometric in GREY:
        return present(stored, data)
    if photometric == PALETTE:
        # The descriptor's third value is the depth of the entries (PS3.3 C.7.6.3.1.5); alpha is left out.
        rgb = apply_color_lut(stored, data)[..., :3]
        return _scale(rgb, int(data.RedPaletteColorLookupTableDescriptor[2]))
    return _scale(stored, int(data.BitsStored))


def _decode(data: Dataset) -> npt.NDArray[Any]:
    """Return the stored values (H, W) or (H, W, 3) of the first frame; YBR is RGB by then."""
    num_pixels = int(data.Rows) * int(data.Columns)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and num_pixels > limit:
        raise Unreadable(f"too large: {num_pixels:,} pixels a frame, more than {limit:,}")
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
        stored = pixel_array(data, index=0)
    except RuntimeError as error:
        if not syntax.is_compressed:
            raise
        reason = " ".join(str(error).split())
        raise Unreadable(
            f"compressed as {syntax.name}, and damaged or beyond the decoders that are installed ({reason}); "
            f"for another one: {_advice(syntax)}"
        ) from error
    samples = 1 if data.get("SamplesPerPixel", 1) == 1 else 3
    if stored.shape != (int(data.Rows), int(data.Columns), 3)[: 2 if samples == 1 else 3]:
        raise Unreadable(f"its pixels have the shape {stored.shape}, which is neither grey nor RGB")
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
    return np.clip(scaled, 0, 255).astype(np.uint8)
