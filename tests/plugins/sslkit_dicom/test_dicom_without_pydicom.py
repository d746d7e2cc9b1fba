from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sslkit.config import parse_config
from sslkit.errors import ConfigError, PluginError
from sslkit.registry import build_registry
from sslkit_dicom import Dicom, DicomConfig

DOCS = Path(__file__).resolve().parents[3] / "docs" / "dicom.md"
ENTRY_POINT = EntryPoint("dicom", "sslkit_dicom", "sslkit")
REGISTRY = build_registry([ENTRY_POINT])


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
    registry = build_registry([ENTRY_POINT])
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


def test_the_configuration_that_is_shown_is_accepted(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    config = parse_config(tomllib.loads(block), root=tmp_path)
    options = {key: value for key, value in tomllib.loads(block)["dataset"].items() if key != "name"}
    assert config.dataset.name == "dicom"
    made = REGISTRY.configure("dataset", "dicom", options, root=tmp_path, key="dataset")[1]
    assert made == DicomConfig(
        path=tmp_path / "export",
        labels=tmp_path / "labels.csv",
        key="PatientID",
        id_column="patient",
        label_column="grade",
    )


def test_options_are_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert all(f"{name} = " in text for name in DicomConfig.model_fields)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.key.*'SOPInstanceUID'"):
        REGISTRY.configure("dataset", "dicom", {"path": "x", "key": "name"}, root=tmp_path, key="dataset")


@pytest.mark.parametrize("option", ["key", "id_column", "label_column"])
def test_options_of_a_table_need_the_table(tmp_path: Path, option: str) -> None:
    value = "PatientID" if option == "key" else "x"
    with pytest.raises(ValueError, match=f"{option} would have no effect without labels; set labels to the table"):
        DicomConfig(path=tmp_path, **{option: value})
