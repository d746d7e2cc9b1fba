"""Follows docs/weights.md from top to bottom: every command and every block of Python is carried out."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import sslkit as call
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve

PAGE = Path(__file__).resolve().parents[2] / "docs" / "weights.md"
BLOCKS = re.findall(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tiny_run: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(tiny_run.directory.root, folder / "runs" / "dr")
    (folder / "photographs").mkdir()
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    for record in list(dataset.records())[:4]:
        Image.fromarray(dataset.read(record)).save(folder / "photographs" / f"{record.id}.png")  # type: ignore[arg-type]
    shutil.copy(next((folder / "photographs").iterdir()), folder / "photographs" / "eye.png")
    return folder


def test_the_page_is_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for extra in ("onnxruntime", "onnxscript"):
        pytest.importorskip(extra, reason=f"{extra} is not installed (extra: onnx)")
    monkeypatch.chdir(folder)
    carried_out = []
    said: dict[str, str] = {}
    for language, title, text in BLOCKS:
        if language == "sh":
            for line in text.splitlines():
                program, *arguments = shlex.split(line, comments=True)
                assert program == "sslkit"
                outcome = call(*arguments)
                assert outcome.status == 0, outcome.err
                carried_out.append(arguments[0])
        elif language == "python":
            exec(compile(text, title, "exec"), {"__name__": "__main__"})
            carried_out.append(title)
            said[title] = capsys.readouterr().out
    assert carried_out == [
        *("export", "export", "load_in_timm.py", "prepare.py", "train.py", "grade_with_onnx.py"),
        *("embed", "embed", "probe.py", "report"),
    ]
    assert "'No DR':" in said["grade_with_onnx.py"]
    assert 0 <= float(said["probe.py"]) <= 1
    assert 'id="representation"' in (folder / "runs" / "dr" / "report" / "index.html").read_text("utf-8")
    listed = {path.name for path in (folder / "weights" / "dr-graded").iterdir()}
    assert set(re.findall(r"^  (\S+\.\w+|SHA256SUMS) ", BLOCKS[1][2], re.M)) == listed
