"""A data set of DICOM files, as a picture archive exports them: a folder, whatever its files are called.

The patient id is the group, so that a patient's images stay on one side of every split. Labels come from a table, since
DICOM has no field for a grade. Reading the files takes pydicom, an optional extra: ``pip install 'sslkit[dicom]'``. The
plugin is listed without it, and says so as soon as the data set is made.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from sslkit import ConfigPath, Dataset, PluginConfig, Record, hookimpl, read_file, read_table
from sslkit.errors import DataError, PluginError, did_you_mean

if TYPE_CHECKING:
    from sslkit_dicom.headers import Header

Key = Literal["file", "SOPInstanceUID", "StudyInstanceUID", "PatientID"]

DECODERS = ("gdcm", "jpeg_ls", "libjpeg", "openjpeg", "pylibjpeg")
"""The modules that pydicom decodes with where they are installed, beside its own means and Pillow."""


class DicomConfig(PluginConfig):
    """Options of the data set ``dicom``.

    Attributes:
        path: the folder; every DICOM image in it or in a folder below it is taken, whatever its name.
        labels: a table of labels in UTF-8, whose first line names the columns; by default no image is labelled.
        key: what the table tells images apart by: ``"file"``, the path below the folder, or an identifier in the files.
            By ``"PatientID"`` or ``"StudyInstanceUID"`` one row labels all images of a patient or a study.
        id_column: the column of the table that holds the key; by default the first.
        label_column: the column of the labels; a blank cell is an unlabelled image, and so is an image without a row.
        group: what stays on one side of a split; ``"none"``: each image is a group of its own.
    """

    path: ConfigPath
    labels: ConfigPath | None = None
    key: Key = "file"
    id_column: str | None = None
    label_column: str = "label"
    group: Literal["PatientID", "StudyInstanceUID", "none"] = "PatientID"

    @model_validator(mode="after")
    def _a_table_for_its_options(self) -> DicomConfig:
        # A run's config.toml holds the defaults as well.
        fields = {name: type(self).model_fields[name] for name in ("id_column", "key", "label_column")}
        idle = [name for name, field in fields.items() if getattr(self, name) != field.default]
        if self.labels is None and idle:
            raise ValueError(f"{', '.join(idle)} would have no effect without labels; set labels to the table")
        return self


class Dicom(Dataset[DicomConfig]):
    """DICOM images below a folder, grouped by patient, with labels from a table."""

    name: ClassVar[str] = "dicom"
    opt_outs: ClassVar[Mapping[str, str]] = {
        "check_listing_opens_no_image": "what a file is, and its patient, stand in its header; no pixel is read there"
    }
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[PluginConfig]] = DicomConfig
    suffixes: ClassVar[tuple[str, ...]] = (".dcm", ".dicom", ".ima")

    def __init__(self, config: DicomConfig, *args: Any) -> None:
        super().__init__(config, *args)
        _require_pydicom()

    def records(self) -> Sequence[Record]:
        """Return one record an image, sorted by id; the id is its path below the folder, with slashes.

        Only headers are read. A file whose header is damaged is listed, and fails by name when it is read.
        """
        from sslkit_dicom.headers import scan

        headers = scan(self.config.path)
        labels = self._labels(headers)
        return [
            Record(
                id=header.id,
                path=header.path,
                label=labels.get(header.key(self.config.key)),
                group=None if self.config.group == "none" else header.key(self.config.group) or None,
            )
            for header in headers
        ]

    def read(self, record: Record) -> npt.NDArray[np.uint8]:
        """Return uint8 pixels (H, W) of a grey image or (H, W, 3) of a colour image; of several frames the first.

        Raises:
            OSError: if the image cannot be read; the message names the file, never what its header says of a patient.
        """
        from sslkit_dicom.pixels import read_pixels

        return read_pixels(_path(record), self.max_pixels)

    @classmethod
    def decode(cls, content: bytes, max_pixels: int) -> bytes | npt.NDArray[np.uint8]:
        """Return the pixels of a DICOM file, as `read` does; anything else stays as it is.

        Raises:
            DataError: if it is a damaged DICOM file; the message never says what its header says of a patient.
        """
        if content[128:132] != b"DICM":
            return content
        _require_pydicom()
        from sslkit_dicom.pixels import decode_pixels

        return decode_pixels(content, max_pixels)

    def fingerprint(self, record: Record) -> str:
        """Return a digest of the file and of the decoders that there are for it, without decoding anything."""
        return hashlib.sha256(_means().encode() + read_file(_path(record))).hexdigest()

    def _labels(self, headers: Sequence[Header]) -> Mapping[str, str | None]:
        """Return the labels by the key of the images that they belong to."""
        table = self.config.labels
        if table is None:
            return {}
        columns = {"id_column": self.config.id_column, "label_column": self.config.label_column}
        labels = dict[str, str | None]()
        lines = dict[str, int]()
        for line, (key, label) in read_table(table, columns):
            if self.config.key == "file":
                key = posixpath.normpath(key.replace("\\", "/"))
            if (first := lines.setdefault(key, line)) != line:
                raise DataError(f"{table}, line {line}: labels what line {first} labels; keep one of the rows")
            labels[key] = label or None
        self._refuse_strays(lines, {header.key(self.config.key) for header in headers})
        return labels

    def _refuse_strays(self, lines: Mapping[str, int], known: set[str]) -> None:
        """Raise if a row belongs to no image; what an identifier says stays out of the message."""
        strays = [key for key in lines if key not in known]
        if strays:
            more = ", ..." if len(strays) > 5 else ""
            named, hint = "", ""
            if self.config.key == "file":
                named, hint = f"; the first is {strays[0]!r}", did_you_mean(strays[0], known)
            raise DataError(
                f"{len(strays)} of the {len(lines)} rows in {self.config.labels} belong to no image in "
                f"{self.config.path} by key = {self.config.key!r} (lines "
                f"{', '.join(str(lines[key]) for key in strays[:5])}{more}{named}){hint or '.'} "
                "Take the rows out, or set path, key or id_column"
            )


def _require_pydicom() -> None:
    try:
        for module in ("pydicom", "pydicom.pixels"):
            importlib.import_module(module)
    except ImportError as error:
        raise PluginError(
            f"the data set 'dicom' needs pydicom 3 or newer, which cannot be imported ({error}); "
            "install it by pip install 'sslkit[dicom]'"
        ) from None


def _path(record: Record) -> Path:
    if record.path is None:
        raise OSError(f"the record {record.id!r} has no path; it is not one of this data set")
    return record.path


@functools.cache
def _means() -> str:
    """Return what a file that pydicom decodes depends on: what it cannot read today, another package can tomorrow."""
    found = [module for module in DECODERS if importlib.util.find_spec(module)]
    return f"pydicom {importlib.import_module('pydicom').__version__} {' '.join(found)}\n"


@hookimpl
def sslkit_datasets() -> list[type[Dicom]]:
    """Return the data set ``dicom``."""
    return [Dicom]
