from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sslkit_dicom
from sslkit import Record
from sslkit.data.manifest import read_manifest
from sslkit.data.preprocessing import Preprocessing
from sslkit.errors import DataError
from sslkit_dicom import Dicom, DicomConfig, sslkit_datasets

pydicom = pytest.importorskip("pydicom", minversion="3")
uid = pytest.importorskip("pydicom.uid")

Write = Callable[..., Path]

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.fixture
def archive(tmp_path: Path, write: Write) -> Path:
    """Four images of two patients and one image of nobody."""
    root = tmp_path / "archive"
    write(root / "b" / "IM2", PIXELS + 1, PatientID="P 1 ", StudyInstanceUID="1.1", SOPInstanceUID="1.1.2")
    write(root / "b" / "IM1.dcm", PIXELS + 2, PatientID="P 1", StudyInstanceUID="1.1", SOPInstanceUID="1.1.1")
    write(root / "IM3.JPG", PIXELS + 3, PatientID="P 1", StudyInstanceUID="1.2", SOPInstanceUID="1.2.1")
    write(root / "c" / "d" / "IM4", PIXELS + 4, PatientID="P2", StudyInstanceUID="2.1", SOPInstanceUID="2.1.1")
    write(root / "c" / "IM5", PIXELS + 5, PatientID="", StudyInstanceUID="3.1", SOPInstanceUID="3.1.1")
    return root


def dataset(root: Path, text: str | None = None, **options: Any) -> Dicom:
    if text is not None:
        options["labels"] = root.parent / "labels.csv"
        options["labels"].write_text(text)
    return Dicom(DicomConfig(path=root, **options))


def labels_of(data: Dicom) -> dict[str, Any]:
    return {record.id: record.label for record in data.records()}


def test_the_hook_returns_the_class() -> None:
    assert list(sslkit_datasets()) == [Dicom]
    assert Dicom.name == "dicom"


def test_a_file_is_a_record_and_a_patient_a_group(archive: Path) -> None:
    data = dataset(archive)
    assert data.records() == [
        Record("IM3.JPG", archive / "IM3.JPG", None, "P 1"),
        Record("b/IM1.dcm", archive / "b" / "IM1.dcm", None, "P 1"),
        Record("b/IM2", archive / "b" / "IM2", None, "P 1"),
        Record("c/IM5", archive / "c" / "IM5", None, None),
        Record("c/d/IM4", archive / "c" / "d" / "IM4", None, "P2"),
    ]
    again = pickle.loads(pickle.dumps(data))
    assert again.records() == data.records()
    np.testing.assert_array_equal(again.read(data.records()[2]), PIXELS + 1)


def test_other_groups(archive: Path) -> None:
    groups = [record.group for record in dataset(archive, group="StudyInstanceUID").records()]
    assert groups == ["1.2", "1.1", "1.1", "3.1", "2.1"]
    assert {record.group for record in dataset(archive, group="none").records()} == {None}


def test_a_missing_patient_id_is_a_group_of_its_own(tmp_path: Path, write: Write) -> None:
    for number in range(3):
        write(tmp_path / str(number), PIXELS, PatientID=None if number else "P1")
    manifest = read_manifest(dataset(tmp_path), int, ["a"])
    assert len(set(manifest.groups.tolist())) == 3


def test_what_is_no_dicom_image_is_passed_over(archive: Path, write: Write) -> None:
    (archive / "notes.txt").write_text("DICM")
    (archive / "empty.dcm").touch()
    (archive / "long.dcm").write_bytes(bytes(200))
    shutil.copy(archive / "IM3.JPG", archive / ".hidden")
    write(archive / "report", None, SOPClassUID=uid.BasicTextSRStorage)
    write(archive / "raw", None, SOPClassUID=uid.RawDataStorage)
    write(archive / "private", None, SOPClassUID="1.3.12.2.1107.5.9.1")
    directory = pydicom.data.get_testdata_file("DICOMDIR", download=False)
    if directory:
        shutil.copy(directory, archive / "DICOMDIR")
    assert len(dataset(archive).records()) == 5


def test_a_damaged_image_is_listed_and_fails_by_name(archive: Path) -> None:
    whole = (archive / "b" / "IM2").read_bytes()
    for length in range(132, len(whole), 7):
        (archive / "b" / "IM2").write_bytes(whole[:length])
        data = dataset(archive)
        (record,) = [record for record in data.records() if record.id == "b/IM2"]
        with pytest.raises(OSError, match="IM2: "):
            data.read(record)


def test_headers_alone_are_read(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    dcmread = pydicom.dcmread

    def spy(*args: Any, **options: Any) -> Any:
        seen.append(dcmread(*args, **options))
        return seen[-1]

    monkeypatch.setattr("sslkit_dicom.headers.dcmread", spy)
    dataset(archive).records()
    assert len(seen) == 5
    assert not any("PixelData" in header or "PatientName" in header for header in seen)


def test_headers_against_the_standard_do_not_warn(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "x", PIXELS, PatientID="P" * 70, SOPInstanceUID="not.a.uid", StudyInstanceUID="1." * 40)
    (record,) = dataset(tmp_path).records()
    assert record.group == "P" * 70


def test_links_lead_to_images_once_and_never_in_a_circle(archive: Path, tmp_path_factory: Any, write: Write) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere / "IM6", PIXELS)
    (archive / "link").symlink_to(elsewhere)
    (archive / "other").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(archive)
    (archive / "broken").symlink_to(elsewhere / "none")
    data = dataset(archive)
    ids = [record.id for record in data.records()]
    assert ids == ["IM3.JPG", "b/IM1.dcm", "b/IM2", "broken", "c/IM5", "c/d/IM4", "link/IM6"]
    with pytest.raises(FileNotFoundError, match="broken"):
        data.read(data.records()[3])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(archive: Path) -> None:
    os.mkfifo(archive / "pipe")
    assert len(dataset(archive).records()) == 5


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_what_may_not_be_read(archive: Path) -> None:
    (archive / "IM3.JPG").chmod(0)
    data = dataset(archive)
    with pytest.raises(PermissionError, match=r"IM3\.JPG"):
        data.read(data.records()[0])
    (archive / "c").chmod(0)
    with pytest.raises(DataError, match=r"the folder .*c cannot be listed: Permission denied"):
        data.records()


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("image,label\nb\\IM2,3\n./IM3.JPG,\nc/d/IM4,0\n", {}),
        ("label,file\n3,b/IM2\n0,c/d/IM4\n", {"id_column": "file"}),
        ("uid;label\n1.1.2;3\n2.1.1;0\n", {"key": "SOPInstanceUID"}),
    ],
)
def test_labels_by_image(archive: Path, text: str, options: dict[str, Any]) -> None:
    expected = {"IM3.JPG": None, "b/IM1.dcm": None, "b/IM2": "3", "c/IM5": None, "c/d/IM4": "0"}
    assert labels_of(dataset(archive, text, **options)) == expected


def test_labels_by_patient_and_by_study(archive: Path) -> None:
    data = dataset(archive, "patient,age,grade\nP 1,61,2\nP2,58,\n", key="PatientID", label_column="grade")
    assert list(labels_of(data).values()) == ["2", "2", "2", None, None]
    data = dataset(archive, "study,label\n1.1,4\n3.1,1\n", key="StudyInstanceUID")
    assert list(labels_of(data).values()) == [None, "4", "4", "1", None]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "image,label\nb/IM2,1\nb/IM1.dc,1\nx,2\n",
            {},
            r"2 of the 3 rows in .*labels\.csv belong to no image in .*archive by key = 'file' \(lines 3, 4; the first "
            r"is 'b/IM1\.dc'\); did you mean 'b/IM1\.dcm'\? Take the rows out, or set path, key or id_column",
        ),
        (
            "image,label\n" + "".join(f"x{row},1\n" for row in range(9)),
            {"key": "PatientID"},
            r"9 of the 9 rows .* by key = 'PatientID' \(lines 2, 3, 4, 5, 6, \.\.\.\)\. Take the rows out",
        ),
        ("p,label\nP2,1\nP 1,1\nP2,2\n", {"key": "PatientID"}, "line 4: labels what line 2 labels; keep one"),
        ("image,label\nb/IM2,1\nb\\IM2,1\n", {}, "line 3: labels what line 2 labels"),
        ("image,grade\nb/IM2,1\n", {}, r"no column 'label' \(label_column\)"),
    ],
)
def test_every_fault_of_the_labels_is_named(archive: Path, text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        dataset(archive, text, **options).records()
    assert "P2" not in str(raised.value)


def test_a_file_without_the_key_is_unlabelled(archive: Path) -> None:
    data = dataset(archive, "patient,label\nP2,1\n", key="PatientID")
    assert labels_of(data)["c/IM5"] is None


def test_folders_without_images(tmp_path: Path, write: Write) -> None:
    root = tmp_path / "archive"
    with pytest.raises(DataError, match=r"archive is missing; set path to the folder of the DICOM files"):
        dataset(root).records()
    root.touch()
    with pytest.raises(DataError, match="archive is a file; set path"):
        dataset(root).records()
    root.unlink()
    root.mkdir()
    (root / "x.dcm").write_bytes(bytes(500))
    with pytest.raises(DataError, match=r"none of the 1 files in .*archive or in any folder below it is a DICOM file"):
        dataset(root).records()
    write(root / "report", None, SOPClassUID=uid.BasicTextSRStorage)
    with pytest.raises(DataError, match=r"none of the 1 DICOM files in .*archive holds an image; they are reports"):
        dataset(root).records()


def test_a_record_of_another_data_set(archive: Path) -> None:
    with pytest.raises(OSError, match="the record 'x' has no path"):
        dataset(archive).read(Record("x"))


def test_fingerprints_follow_the_file_and_the_decoders(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(archive)
    records = data.records()
    before = [data.fingerprint(record) for record in records]
    assert len(set(before)) == 5
    shutil.copy(archive / "b" / "IM2", archive / "IM3.JPG")
    after = [data.fingerprint(record) for record in records]
    assert after == [before[2], *before[1:]]
    monkeypatch.setattr(sslkit_dicom, "_means", lambda: "pydicom and a decoder that was not there before")
    assert data.fingerprint(records[0]) != after[0]


@pytest.mark.parametrize("crop", ["center", "none"])
def test_images_arrive_in_the_cache(tmp_path: Path, write: Write, crop: Any) -> None:
    grey = np.repeat(np.arange(4000, dtype=np.int16)[None, ::40], 100, axis=0)
    write(tmp_path / "grey", grey, BitsStored=13, WindowCenter="2000.5", WindowWidth="4001")
    colour = np.zeros((60, 60, 3), np.uint8)
    colour[..., 0], colour[..., 2] = 200, 40
    write(tmp_path / "colour", colour, PlanarConfiguration=1)
    data = dataset(tmp_path)
    images = [Preprocessing(20, crop).apply(data.read(record)) for record in data.records()]
    assert [record.id for record in data.records()] == ["colour", "grey"]
    assert all((image.shape, image.dtype) == ((20, 20, 3), np.uint8) for image in images)
    assert (images[0] == (200, 0, 40)).all()
    # Each of the 20 columns is the mean of 5 that stand 40 apart; the ends are sharpened by the filter.
    means = 255 * (200 * np.arange(20) + 80) / 4000
    np.testing.assert_allclose(images[1][10, 1:-1, 0], means[1:-1], atol=1.5)
