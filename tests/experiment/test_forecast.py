from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit.experiment.forecast import START_ELSEWHERE
from sslkit.experiment.running import RunResult

ARMS = {"evaluation": {"arms": ["pretrained", "scratch"]}}


@pytest.fixture
def copied(tiny_run: RunResult, tmp_path: Path) -> Path:
    """A finished run that may be changed."""
    shutil.copytree(tiny_run.directory.root, tmp_path / "run")
    return tmp_path / "run"


def test_waves_come_in_the_order_of_executors_and_tell_what_waits_for_what(tmp_path: Path) -> None:
    found = sslkit.plan(tiny_config(), tmp_path / "run").forecast

    assert [(wave.kind, wave.pretext, wave.arm, wave.jobs, wave.missing, wave.waits_for) for wave in found.waves] == [
        ("pretraining", "rotation", "", 2, 2, ""),
        ("cells", "rotation", "pretrained", 4, 4, "pretraining"),
        ("cells", "", "scratch", 4, 4, ""),
        ("features", "rotation", "", 2, 2, "pretraining"),
        ("cells", "rotation", "frozen", 4, 4, "features"),
        ("cells", "rotation", "knn", 4, 4, "features"),
    ]


def test_where_nothing_was_measured_it_is_told_in_images(tmp_path: Path) -> None:
    found = sslkit.plan(tiny_config(seed=77, pretraining={"images": "all"}, **ARMS), tmp_path).forecast

    assert (found.basis, found.unit) == ("cost", "thousand images")
    # Of a pretraining: two epochs of all images, forward and backward, which counts two.
    assert found.waves[0].amount == pytest.approx(3 * 2 * 48 / 1e3)
    (own,) = (each for each in found.on_workers if each.own)
    assert own.amount >= found.total / own.workers - 1e-12
    assert {4, 16, 64} <= {each.workers for each in found.on_workers}


def test_a_bench_of_the_configuration_gives_hours(tmp_path: Path) -> None:
    config = tiny_config(**ARMS, compute={"workers": 1})
    bench = sslkit.bench(config, seconds=0.1)

    found = sslkit.plan(config, tmp_path / "run").forecast

    assert (found.basis, found.unit) == ("bench", "hours")
    assert found.on_workers[0].workers == 1
    assert found.on_workers[0].own
    assert found.on_workers[0].amount == pytest.approx(bench.estimate["jobs_hours"])
    assert found.total == pytest.approx(bench.estimate["jobs_hours"])
    assert found.on_workers[0].busy == pytest.approx(1)
    # The chain of a pretraining and a cell, each beginning later elsewhere.
    least = found.critical_amount + 2 * START_ELSEWHERE / 3600
    assert found.on_workers[-1].amount == pytest.approx(least, rel=0.01)
    assert found.critical_path[0].startswith("pretraining/rotation/")
    assert found.critical_path[1].startswith("cells/")


def test_of_a_finished_run_nothing_is_missing(tiny_run: RunResult) -> None:
    found = sslkit.plan(tiny_config(), tiny_run.directory.root)

    assert found.unknown == ""
    assert sum(wave.missing for wave in found.forecast.waves) == 0
    assert found.forecast.critical_path == ()
    assert found.forecast.total == 0


def test_what_was_lost_of_a_run_is_missing_and_its_own_times_tell_how_long_it_takes(copied: Path) -> None:
    shutil.rmtree(copied / "pretraining" / "rotation" / "1")
    cells = [path for path in (copied / "cells").iterdir() if '"arm": "scratch"' in (path / "result.json").read_text()]
    shutil.rmtree(cells[0])

    plan = sslkit.plan(tiny_config(evaluation={"repetitions": 2}), copied)

    missing = {(wave.kind, wave.arm): (wave.jobs, wave.missing) for wave in plan.forecast.waves}
    assert plan.unknown == ""
    assert missing["pretraining", ""] == missing["features", ""] == (2, 1)
    assert missing["cells", "scratch"] == (8, 5)
    assert missing["cells", "pretrained"] == (8, 4)
    assert plan.forecast.basis == "run"
    assert plan.forecast.unit == "hours"
    assert 0 < plan.forecast.total < 0.1


def test_the_decoded_images_need_not_be_there(copied: Path, tmp_path: Path) -> None:
    plan = sslkit.plan(tiny_config(images={"cache": str(tmp_path / "elsewhere")}), copied)

    assert plan.unknown == ""
    assert not any(wave.missing for wave in plan.forecast.waves)


@pytest.mark.parametrize(("name", "text"), [("run.json", "{}"), ("audit.json", "["), ("run.json", '{"data": 3}')])
def test_a_damaged_file_is_told_and_all_counts_as_missing(copied: Path, name: str, text: str) -> None:
    (copied / name).write_text(text)
    plan = sslkit.plan(tiny_config(), copied)
    assert plan.unknown == "run.json or audit.json there is damaged"
    assert all(wave.missing == wave.jobs for wave in plan.forecast.waves)


def test_of_a_data_set_with_copies_and_damaged_images_it_is_known_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["image,label"]
    for number in range(24):
        pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{number % 5}")
    shutil.copy(folder / "3.png", folder / "20.png")
    (folder / "7.png").write_bytes(b"no image")
    (folder / "labels.csv").write_text("\n".join(lines))
    config = tiny_config(
        dataset={"name": "csv", "table": str(folder / "labels.csv")},
        images={"on_unreadable": "skip", "crop": "none"},
        evaluation={"arms": ["scratch"], "label_fractions": [1.0]},
    )
    sslkit.run(config, tmp_path / "run")

    plan = sslkit.plan(config, tmp_path / "run")

    assert "20.png" in (tmp_path / "run" / "audit.json").read_text().partition('"identical"')[2]
    assert plan.unknown == ""
    assert [(wave.jobs, wave.missing) for wave in plan.forecast.waves] == [(2, 0)]


def test_other_labels_than_at_the_last_call_are_told(copied: Path) -> None:
    text = (copied / "run.json").read_text()
    digest = text.partition('"hash": "')[2].partition('"')[0]
    (copied / "run.json").write_text(text.replace(digest, f"{digest.partition('-')[0]}-0123456789abcdef"))
    assert "other images, labels or groups" in sslkit.plan(tiny_config(), copied).unknown


def test_another_decoder_than_at_the_last_call_is_told(copied: Path) -> None:
    info = json.loads((copied / "run.json").read_text())
    assert info["versions"]["pillow"] == PIL.__version__
    info["versions"]["pillow"] = "1.0"
    (copied / "run.json").write_text(json.dumps(info))
    plan = sslkit.plan(tiny_config(), copied)
    assert plan.unknown == f"the images were decoded by Pillow 1.0, not {PIL.__version__}"
    assert all(wave.missing == wave.jobs for wave in plan.forecast.waves)


def test_nothing_is_written_into_the_directory(copied: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*")}
    sslkit.plan(tiny_config(), copied)
    assert {path: path.stat().st_mtime_ns for path in copied.rglob("*")} == before
