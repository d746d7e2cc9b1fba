"""Finds the DICOM images below a folder and reads who they belong to, without their pixels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID

from sslkit import open_file
from sslkit.errors import DataError
from sslkit_dicom.deflated import check_inflated_size

IDENTIFIERS = ("SOPInstanceUID", "StudyInstanceUID", "PatientID")
_TAGS = ["SOPClassUID", "Rows", *IDENTIFIERS]
_STANDARD = "1.2.840.10008."  # how the identifiers begin that the standard itself defines


@dataclass(frozen=True)
class Header:
    """One DICOM image.

    Attributes:
        id: its path below the folder, with slashes.
        path: its file.
        identifiers: its identifiers by keyword; "" where the file has none.
    """

    id: str
    path: Path
    identifiers: dict[str, str]

    def key(self, name: str) -> str:
        """Return an identifier, or the id for the name ``"file"``."""
        return self.id if name == "file" else self.identifiers.get(name, "")


def scan(root: Path) -> list[Header]:
    """List the DICOM images in a folder and in all folders below it, sorted by id.

    A DICOM file is known by the letters DICM at its 129th byte, as PS3.10 of the standard has it, not by its name.
    Other files are passed over, and so are DICOM files without an image: directories, reports, presentation states.

    Raises:
        DataError: if there is no such folder or no such file.
    """
    if not root.is_dir():
        kind = "a file" if root.exists() else "missing"
        raise DataError(f"{root} is {kind}; set path to the folder of the DICOM files")
    headers, num_files, num_dicom = list[Header](), 0, 0
    for path in _files(root):
        num_files += 1
        if not _may_be_dicom(path):
            continue
        num_dicom += 1
        identifiers = _identifiers(path)
        if identifiers is not None:
            headers.append(Header(path.relative_to(root).as_posix(), path, identifiers))
    if not headers and num_dicom:
        raise DataError(
            f"none of the {num_dicom} DICOM files in {root} holds an image; they are reports, directories or the like"
        )
    if not headers:
        raise DataError(
            f"none of the {num_files} files in {root} or in any folder below it is a DICOM file, which has the letters "
            "DICM at its 129th byte; set path to the folder of the DICOM files"
        )
    return sorted(headers, key=lambda header: header.id)


def _files(root: Path) -> Iterator[Path]:
    """Yield the files below a folder; a folder that links lead to twice is entered once."""
    entered = set[tuple[int, int]]()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise DataError(f"the folder {error.filename} cannot be listed: {error.strerror}") from None


def _may_be_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM; one that cannot be opened may be, and reading it says why it cannot."""
    if not path.is_file():
        return path.is_symlink()
    try:
        with open_file(path) as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return True


def _identifiers(path: Path) -> dict[str, str] | None:
    """Return the identifiers of an image, or None where the file is whole and holds no image."""
    with warnings.catch_warnings():
        # What pydicom warns of are values against the standard, and its warnings quote them.
        warnings.simplefilter("ignore")
        try:
            with open_file(path) as file:
                check_inflated_size(file)
                header = dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
            if "Rows" not in header:
                sop_class = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
                if sop_class and _is_of_no_image(UID(sop_class)):
                    return None
            return {keyword: str(header.get(keyword) or "").strip() for keyword in IDENTIFIERS}
        except Exception:  # damaged headers make pydicom raise nearly anything; reading the image reports it
            return {}


def _is_of_no_image(sop_class: UID) -> bool:
    """Tell whether a kind of DICOM object is no image; of a kind that a damaged file cuts off nothing is known."""
    known = sop_class.name != sop_class or (sop_class.is_private and not _STANDARD.startswith(sop_class))
    return known and "Image" not in sop_class.name
