from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import sslkit as call
from PIL import Image

from sslkit import Embedding
from sslkit.experiment.running import RunResult


@pytest.fixture(scope="module")
def root(tiny_run: RunResult) -> Path:
    return tiny_run.directory.root


def test_export_says_what_it_wrote_and_what_to_try_next(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "it's mine"
    outcome = call("export", root, target, "--weights", "finetuned", "--arm", "scratch", "--fold", "1")

    assert (outcome.status, outcome.err) == (0, "")
    assert "finetuned, arm scratch, fold 1; 96 features an image" in outcome.out
    assert "head.safetensors" in outcome.out
    assert "Not a medical device" in outcome.out
    line = next(line for line in outcome.out.splitlines() if line.startswith("  python -c"))
    code = line.strip().removeprefix("python ")
    shown = subprocess.run(f"{sys.executable} {code}", shell=True, capture_output=True, text=True)
    assert "ResNet(" in shown.stdout, shown.stderr
    graded = next(line for line in outcome.out.splitlines() if line.startswith("  sslkit predict"))
    assert graded.endswith("PHOTOGRAPH.jpg")


def test_export_with_onnx_tells_the_difference(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: onnx)")
    outcome = call("export", root, tmp_path / "out", "--pretext", "rotation", "--onnx")
    assert (outcome.status, outcome.err) == (0, "")
    assert "model.onnx gives features; from torch it differs by " in outcome.out
    assert (tmp_path / "out" / "model.onnx").is_file()


def test_mistakes_of_export_are_one_message(root: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a\x1b[31m.txt").touch()
    outcome = call("export", root, tmp_path / "full")
    assert (outcome.status, outcome.out) == (2, "")
    assert "is not empty" in outcome.err
    assert "\x1b" not in outcome.err
    assert call("export", root, tmp_path / "out", "--fold", "9").status == 2
    assert call("export", tmp_path, tmp_path / "out").status == 2
    assert call("export", root, tmp_path / "out", "--weights", "best").status == 2


def test_embed_and_draw(root: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(root, tmp_path / "run"))
    outcome = call("embed", run, "--output", tmp_path / "f.npz", "--fold", "1", "--weights", "pretrained")
    assert outcome.status == 0
    assert "48 images, " in outcome.out
    assert f"Next: sslkit report {run} --features {tmp_path / 'f.npz'}" in outcome.out
    assert "embedding: 48 images" in outcome.err

    outcome = call("report", run, "--features", tmp_path / "f.npz", "--projection", "pca")
    assert outcome.status == 0
    assert 'id="representation"' in (run / "report" / "index.html").read_text("utf-8")
    assert json.loads((run / "representation.json").read_text())["fold"] == 1
    assert call("report", run).status == 0
    assert 'id="representation"' in (run / "report" / "index.html").read_text("utf-8")

    outcome = call("report", run, "--projection", "pca")
    assert outcome.status == 2
    assert "give --features FILE as well" in outcome.err
    assert call("report", run, "--features", tmp_path / "absent.npz").status == 2


def test_embed_reports_images_that_cannot_be_read(root: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    good = generator.integers(60, 200, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(good).save(tmp_path / "good.png")
    (tmp_path / "bad\x1b.png").write_text("hello")
    outcome = call("embed", root, tmp_path, "--output", tmp_path / "f.npz")
    assert outcome.status == 1
    assert "bad\\x1b.png cannot be read: " in outcome.err
    assert Embedding.load(tmp_path / "f.npz").ids == (str(tmp_path / "good.png"),)
    assert "Next:" not in outcome.out


def test_embed_reads_a_table_with_another_column_and_root(root: Path, tmp_path: Path) -> None:
    (tmp_path / "eyes").mkdir()
    pixels = np.random.default_rng(0).integers(60, 200, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "eyes" / "1.png")
    (tmp_path / "table.csv").write_text("id_code\n1\n")
    table = (tmp_path / "table.csv", "--image-column", "id_code", "--root", tmp_path / "eyes")
    outcome = call("embed", root, *table, "--output", tmp_path / "f.npz")
    assert outcome.status == 0, outcome.err
    assert Embedding.load(tmp_path / "f.npz").ids == (str(tmp_path / "eyes" / "1.png"),)


def test_a_wrong_name_of_the_output_is_said_before_anything_is_computed(root: Path, tmp_path: Path) -> None:
    outcome = call("embed", root, "--output", tmp_path / "f.csv")
    assert (outcome.status, outcome.out) == (2, "")
    assert "give a name that ends in .npz or .parquet" in outcome.err
    assert "embedding" not in outcome.err
