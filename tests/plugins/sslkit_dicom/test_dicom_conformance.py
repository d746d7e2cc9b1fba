from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sslkit.testing import parametrize_with_checks
from sslkit.testing.samples import sample_pixels
from sslkit_dicom import Dicom

pytest.importorskip("pydicom", minversion="3")


def write_files(folder: Path) -> dict[str, str]:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    (folder / "scans").mkdir()
    for number, pixels in enumerate(sample_pixels(6, 96)):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, f"1.2.3.{number}"
        data.StudyInstanceUID, data.PatientID = "1.2.3", f"patient {number // 2}"
        data.Rows, data.Columns, data.SamplesPerPixel, data.PlanarConfiguration = *pixels.shape, 0
        data.PhotometricInterpretation, data.PixelRepresentation = "RGB", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.PixelData = pixels.tobytes()
        data.save_as(folder / "scans" / f"{number}.dcm", enforce_file_format=True)
    return {"path": "scans"}


@parametrize_with_checks(Dicom, options=write_files)
def test_dicom_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
