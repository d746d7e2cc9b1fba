"""A run that was trained on DICOM files grades DICOM files, through the same reader."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit import Record
from sslkit.errors import DataError
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.study import resolve
from sslkit_dicom import Dicom, DicomConfig

pytest.importorskip("pydicom", minversion="3")


def test_a_run_on_dicom_files_grades_them_as_its_cells_did(tmp_path: Path, write: Callable[..., Path]) -> None:
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    labels = ["file,label"]
    for record in dataset.records():
        write(tmp_path / "scans" / f"{record.id}.dcm", np.asarray(dataset.read(record)), PatientID=record.group)
        labels += [] if record.label is None else [f"{record.id}.dcm,{record.label}"]
    (tmp_path / "labels.csv").write_text("\n".join(labels) + "\n")
    config = tiny_config(
        dataset={"name": "dicom", "path": str(tmp_path / "scans"), "labels": str(tmp_path / "labels.csv")},
        evaluation={"label_fractions": [1.0], "arms": ["scratch"]},
    )
    run = sslkit.run(config, tmp_path / "run")
    predictor = Predictor.open(run.directory.root, sslkit.build_registry())
    predictor.models = predictor.models[:1]
    with run.directory.results.open(newline="") as file:
        cell = next(row for row in csv.DictReader(file) if row["fold"] == "0")
    with (run.directory.cell(cell["cell"]) / "predictions.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))

    graded = list(predictor.predict(tmp_path / "scans" / row["image"] for row in expected))
    whole = list(sslkit.predict(run.directory.root, tmp_path / "scans"))

    for image, row in zip(graded, expected, strict=True):
        shares = list((image.probabilities or {}).values())
        assert shares == pytest.approx([float(row[f"p_{k}"]) for k in range(5)], abs=1e-5)
    assert len(whole) == 48
    # What was exported reads them as well, though it does not know where the data set is.
    exported = sslkit.export(run.directory.root, tmp_path / "exported", weights="finetuned", arm="scratch").directory
    assert str(tmp_path) not in (exported / "config.json").read_text()
    again = list(sslkit.predict(exported, tmp_path / "scans"))
    assert [image.image for image in again] == [image.image for image in whole]
    assert all(image.error is None for image in again)
    assert len(sslkit.embed(exported, [tmp_path / "scans"])) == 48
    assert all(image.error is None for image in whole)
    # A photograph among them is one; what is damaged is told without a word of the header's.
    Image.fromarray(np.asarray(dataset.read(dataset.records()[0]))).save(tmp_path / "scans" / "photograph.png")
    good = (tmp_path / "scans" / expected[0]["image"]).read_bytes()
    (tmp_path / "scans" / "short.dcm").write_bytes(good[:400])
    answers = {Path(image.image).name: image for image in sslkit.predict(run.directory.root, tmp_path / "scans")}
    assert answers["photograph.png"].error is None
    assert answers["short.dcm"].grade is None
    assert "Doe" not in (answers["short.dcm"].error or "Doe")


def test_decoding_is_reading(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "x.dcm", np.arange(600, dtype=np.uint16).reshape(20, 30))
    dataset = Dicom(DicomConfig(path=tmp_path))

    np.testing.assert_array_equal(Dicom.decode(path.read_bytes(), 600), dataset.read(Record("x", path)))
    assert Dicom.decode(b"anything else", 600) == b"anything else"
    with pytest.raises(DataError, match=r"the file is damaged|it holds no image"):
        Dicom.decode(path.read_bytes()[:140], 600)
    with pytest.raises(DataError, match="600 pixels"):
        Dicom.decode(path.read_bytes(), 100)
