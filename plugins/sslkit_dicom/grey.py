"""From stored grey values to what a viewer would show of them (DICOM PS3.4 N.2).

Stored values go through the modality transformation (a table, or slope and intercept), then through the first VOI
transformation (a table, or a window), and MONOCHROME1 is inverted at the end. Where a file has no VOI transformation,
values of at most 8 bits are shown as they are stored, and others from the least to the greatest of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

TAGS = [
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]
"""What is needed of a file, beside what describes its stored pixels."""

Values = npt.NDArray[np.float64]


class Unreadable(Exception):
    """The reason why an image cannot be read."""


def present(stored: npt.NDArray[Any], data: Dataset) -> npt.NDArray[np.uint8]:
    """Turn the stored values of one frame into uint8.

    Args:
        stored: integers or floats (H, W).
        data: the file's header; its functional groups of the first frame are put into it.

    Returns:
        uint8 (H, W), 0 black and 255 white.

    Raises:
        Unreadable: if values are not finite, or a transformation makes no sense.
    """
    if not np.isfinite(stored).all():
        raise Unreadable("its pixels are infinite or not a number")
    _ungroup(data)
    shown = np.floor(255 * _brightness(stored, data) + 0.5).astype(np.uint8)
    return 255 - shown if data.PhotometricInterpretation == "MONOCHROME1" else shown


def _ungroup(data: Dataset) -> None:
    """Put what an enhanced multi-frame file says of its first frame where single-frame files have it."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            frame = _first(data.get(groups))
            item = None if frame is None else _first(frame.get(macro))
            if item is not None:
                data.update(item)


def _brightness(stored: npt.NDArray[Any], data: Dataset) -> Values:
    """Return the values in 0..1 that a display of MONOCHROME2 shows."""
    slope, intercept = _number(data.get("RescaleSlope"), 1.0), _number(data.get("RescaleIntercept"), 0.0)
    values: Values = stored.astype(np.float64) * slope + intercept
    table = _first(data.get("ModalityLUTSequence"))
    if table is not None:
        values, _ = look_up(stored, table.LUTDescriptor, table.LUTData, little_endian=is_little_endian(data))
    voi = _first(data.get("VOILUTSequence"))
    if voi is not None:
        whole = np.rint(values)
        values, bits = look_up(whole, voi.LUTDescriptor, voi.LUTData, little_endian=is_little_endian(data))
        return _clip(values / (2**bits - 1))
    center, width = _number(data.get("WindowCenter")), _number(data.get("WindowWidth"))
    if center is not None and width is not None:
        return window(values, center, width, str(data.get("VOILUTFunction") or "LINEAR"))
    plain = table is None and (slope, intercept) == (1, 0) and stored.dtype.kind == "u"
    if plain and int(data.BitsStored) <= 8:
        return _clip(values / (2 ** int(data.BitsStored) - 1))
    return _stretch(values, _is_padding(stored, data))


def window(values: Values, center: float, width: float, function: str = "LINEAR") -> Values:
    """Map a window of values to 0..1 (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: (H, W), after the modality transformation.
        center: the value, or half a value above the value, that becomes 0.5.
        width: how many values lie in the window.
        function: "LINEAR", "LINEAR_EXACT" or "SIGMOID".

    Raises:
        Unreadable: if the function is unknown or the width does not suit it.

    Example:
        >>> window(np.array([0.0, 100.0, 200.0]), 100, 100, "LINEAR_EXACT").tolist()
        [0.0, 0.5, 1.0]
    """
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise Unreadable(f"its VOI LUT function is {function!r}; accepted: LINEAR, LINEAR_EXACT, SIGMOID")
    if width <= 0 or (function == "LINEAR" and width < 1):
        least = "at least 1" if function == "LINEAR" else "above 0"
        raise Unreadable(f"its window width is {width:g}, and must be {least} for the function {function}")
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - center) / width, -700, 700)
        shown: Values = 1 / (1 + np.exp(exponent))
        return shown
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width == 0:
        return (values > center).astype(np.float64)
    return _clip((values - center) / width + 0.5)


def _stretch(values: Values, padding: npt.NDArray[np.bool_]) -> Values:
    """Map the least value to 0 and the greatest to 1, without regard to padding."""
    inside = values if padding.all() else values[~padding]
    low, high = inside.min(), inside.max()
    return _clip((values - low) / (high - low)) if high > low else np.zeros_like(values)


def _is_padding(stored: npt.NDArray[Any], data: Dataset) -> npt.NDArray[np.bool_]:
    """Tell which pixels only fill the rectangle around what was imaged (PS3.3 C.7.5.1.1.2)."""
    value = _number(data.get("PixelPaddingValue"))
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = _number(data.get("PixelPaddingRangeLimit"), value)
    padding: npt.NDArray[np.bool_] = (stored >= min(value, limit)) & (stored <= max(value, limit))
    return padding


def _clip(values: Values) -> Values:
    return np.clip(values, 0, 1)


def look_up(
    values: npt.NDArray[Any], descriptor: Sequence[int], entries: Any, *, little_endian: bool
) -> tuple[Values, int]:
    """Look whole values up in a table (PS3.3 C.11.1.1 and C.7.6.3.1.5).

    Args:
        values: (H, W); those below the table's first value take its first entry, those above its last take the last.
        descriptor: number of entries (0: 65536), the first value that is mapped, and the bits of an entry.
        entries: the table, as numbers or as bytes.
        little_endian: the order of the bytes.

    Returns:
        The entries, float64 (H, W), and the bits of an entry.
    """
    num_entries, first, bits = (int(number) for number in descriptor)
    num_entries = num_entries or 2**16
    if isinstance(entries, bytes):
        wide = len(entries) >= 2 * num_entries
        entries = np.frombuffer(entries, dtype=f"{'<' if little_endian else '>'}u{2 if wide else 1}")
    table = np.atleast_1d(np.asarray(entries, dtype=np.float64))[:num_entries]
    return table[np.clip(values.astype(np.int64) - first, 0, len(table) - 1)], bits


def is_little_endian(data: Dataset) -> bool:
    """Tell the order of the bytes in a file."""
    return bool(data.original_encoding[1])


def _first(sequence: Sequence[Dataset] | None) -> Dataset | None:
    return sequence[0] if sequence else None


def _number(value: Any, default: Any = None) -> Any:
    """Return the first of the numbers that an element holds, as a float, or the default where it holds none."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return default if value is None or value == "" else float(value)
