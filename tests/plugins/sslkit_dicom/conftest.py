"""A writer of small DICOM files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def write_dicom(path: Path, stored: np.ndarray | None, *, syntax: str | None = None, **elements: Any) -> Path:
    """Write a file; ``stored`` is (H, W), (H, W, 3) or (F, H, W), and integers; None: a file without an image.

    Elements are given by keyword; those that describe the pixels follow from the array, and None leaves one out.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    given = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "PatientName": "Doe^Jane",
        "PatientID": "P1",
    }
    if stored is not None:
        samples = 3 if stored.ndim == 3 and stored.shape[-1] == 3 else 1
        rows, columns = stored.shape[:2] if samples == 3 else stored.shape[-2:]
        given |= {
            "SamplesPerPixel": samples,
            "PhotometricInterpretation": "RGB" if samples == 3 else "MONOCHROME2",
            "PlanarConfiguration": 0 if samples == 3 else None,
            "NumberOfFrames": len(stored) if samples == 1 and stored.ndim == 3 else None,
            "Rows": rows,
            "Columns": columns,
            "BitsAllocated": 8 * stored.itemsize,
            "BitsStored": 8 * stored.itemsize,
            "PixelRepresentation": int(stored.dtype.kind == "i"),
        }
    given |= elements
    if stored is not None and "PixelData" not in given:
        planes = np.moveaxis(stored, -1, 0) if given["PlanarConfiguration"] == 1 else stored
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        raw = np.ascontiguousarray(planes, dtype=stored.dtype.newbyteorder(order)).tobytes()
        given["PixelData"] = raw + b"\0" * (len(raw) % 2)
    if given.get("BitsStored"):
        given.setdefault("HighBit", given["BitsStored"] - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of what is written is against the standard on purpose
        for keyword, value in given.items():
            if value is not None:
                setattr(data, keyword, value)
        if "PixelData" in data:
            data["PixelData"].VR = "OB" if given["BitsAllocated"] == 8 else "OW"
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def write() -> Callable[..., Path]:
    pytest.importorskip("pydicom", minversion="3")
    return write_dicom
