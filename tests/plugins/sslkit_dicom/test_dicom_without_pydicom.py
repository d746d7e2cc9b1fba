from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sslkit.errors import PluginError
from sslkit.registry import build_registry
from sslkit_dicom import Dicom, DicomConfig


@pytest.fixture
def _no_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_no_pydicom")
def test_the_data_set_says_how_to_install_what_it_needs(tmp_path: Path) -> None:
    message = r"the data set 'dicom' needs pydicom 3 or newer, .*; install it by pip install 'sslkit\[dicom\]'"
    with pytest.raises(PluginError, match=message):
        Dicom(DicomConfig(path=tmp_path))


@pytest.mark.usefixtures("_no_pydicom")
def test_the_plugin_is_listed_all_the_same() -> None:
    registry = build_registry([EntryPoint("dicom", "sslkit_dicom", "sslkit")])
    assert registry.broken == ()
    assert registry.find("dataset", "dicom").cls is Dicom


def test_listing_the_plugin_does_not_load_pydicom() -> None:
    code = "import sys, sslkit_dicom; sslkit_dicom.sslkit_datasets(); sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_older_pydicom_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", sys)  # a module without pydicom.pixels
    monkeypatch.delitem(sys.modules, "pydicom.pixels", raising=False)
    with pytest.raises(PluginError, match="needs pydicom 3 or newer, which cannot be imported"):
        Dicom(DicomConfig(path=tmp_path))


@pytest.mark.parametrize("option", ["key", "id_column", "label_column"])
def test_options_of_a_table_need_the_table(tmp_path: Path, option: str) -> None:
    value = "PatientID" if option == "key" else "x"
    with pytest.raises(ValueError, match=f"{option} would have no effect without labels; set labels to the table"):
        DicomConfig(path=tmp_path, **{option: value})
