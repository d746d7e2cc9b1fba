"""The pictures of whole runs: what is left in the directory, when it is made anew, and when it is taken away."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from studies import prepare_tiny, tiny_config

import sslkit
from sslkit.checksums import flaws
from sslkit.errors import PluginError, StorageError
from sslkit.experiment.observation import Silent
from sslkit.experiment.pictures import writing
from sslkit.experiment.running import RunResult, execute_run

REGISTRY = sslkit.build_registry()


class Hearing(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, text: str) -> None:
        self.warnings.append(text)


def run_again(root: Path, **changes: Any) -> list[str]:
    heard = Hearing()
    execute_run(tiny_config(**changes), root, REGISTRY, heard)
    return heard.warnings


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "pictures").iterdir())}


def index_of(root: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((root / "pictures" / "pictures.json").read_text())
    return index


@pytest.fixture
def root(tiny_run: RunResult, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return shutil.copytree(tiny_run.directory.root, tmp_path / "run")


def test_a_run_leaves_its_pictures_and_nothing_else_in_their_folder(tiny_run: RunResult) -> None:
    folder, index = tiny_run.directory.pictures, index_of(tiny_run.directory.root)
    assert flaws(folder) == []
    shown = [image["picture"] for image in index["images"]]
    shown += [picture for task in index["tasks"] for view in task["views"] for picture in view["pictures"]]
    shown += [mistake["picture"] for mistake in index["mistakes"]["images"]]
    assert sorted(contents(tiny_run.directory.root)) == sorted(
        ["SHA256SUMS", "pictures.json", *(picture["file"] for picture in shown)]
    )
    for picture in shown:
        assert re.fullmatch(r"(view|mistake)-\d+\.(jpg|png)", picture["file"])
        with Image.open(folder / picture["file"]) as image:
            assert image.size == (picture["width"], picture["height"])
            assert not image.getexif()
            assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert len(index["images"]) == 4
    assert [task["pretext"] for task in index["tasks"]] == ["rotation"]
    assert {(image["fold"]) for image in index["mistakes"]["images"]} <= {0, 1}


def test_images_are_shown_as_they_were_preprocessed(tiny_run: RunResult, tmp_path: Path) -> None:
    prepared = prepare_tiny(tmp_path)
    ids = [record.id for record in prepared.manifest.records]
    index, folder = index_of(tiny_run.directory.root), tiny_run.directory.pictures
    for item in (*index["images"], *index["mistakes"]["images"]):
        with Image.open(folder / item["picture"]["file"]) as image:
            assert np.array_equal(np.asarray(image), prepared.cache.open()[ids.index(item["image"])])


def test_the_mistakes_are_the_worst_of_the_tables(tiny_run: RunResult) -> None:
    def predictions(arm: str) -> list[dict[str, str]]:
        with tiny_run.directory.results.open(newline="") as file:
            cells = [row["cell"] for row in csv.DictReader(file) if (row["arm"], row["fraction"]) == (arm, "1.0")]
        rows: list[dict[str, str]] = []
        for cell in cells:
            with (tiny_run.directory.root / "cells" / cell / "predictions.csv").open(newline="") as file:
                rows += csv.DictReader(file)
        return rows

    rows, found = predictions("pretrained"), index_of(tiny_run.directory.root)["mistakes"]
    wrong = [row for row in rows if row["target"] != row["predicted"]]
    wrong.sort(
        key=lambda row: (
            -abs(int(row["target"]) - int(row["predicted"])),
            -float(row[f"p_{row['predicted']}"]),
            row["image"],
        )
    )
    assert (found["arm"], found["pretext"], found["fraction"]) == ("pretrained", "rotation", 1.0)
    assert (found["tested"], found["wrong"], found["folds"], found["tasks"]) == (len(rows), len(wrong), 2, 1)
    assert [item["image"] for item in found["images"]] == [row["image"] for row in wrong[:12]]
    from_scratch = {row["image"]: int(row["predicted"]) for row in predictions("scratch")}
    for item, row in zip(found["images"], wrong, strict=False):
        assert (item["target"], item["predicted"]) == (int(row["target"]), int(row["predicted"]))
        assert item["probability"] == float(row[f"p_{row['predicted']}"])
        assert item["scratch"] == from_scratch[item["image"]]


def test_a_run_again_leaves_them_as_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(root)
    monkeypatch.setattr(writing, "seen_views", None)  # to call it would be told
    assert run_again(root) == []
    assert contents(root) == before


def test_a_damaged_picture_is_made_anew(root: Path) -> None:
    before = contents(root)
    (root / "pictures" / "view-1.png").write_bytes(b"")
    assert run_again(root) == [f"{root / 'pictures'}: view-1.png does not fit its checksum; it is made anew"]
    assert contents(root) == before


def test_without_pictures_none_is_left_and_nothing_else_changes(root: Path) -> None:
    kept = {path: path.read_bytes() for name in ("*.csv", "cells/*/*", "pretraining/*/*/*") for path in root.glob(name)}
    assert b"data:image" in (root / "report" / "index.html").read_bytes()
    before = contents(root)

    heard = Hearing()
    sslkit.run(tiny_config(report={"pictures": False}), root, observer=heard)

    assert heard.warnings == []
    assert not (root / "pictures").exists()
    pictures = [path for path in root.rglob("*") if path.suffix in (".jpg", ".png")]
    assert {path.with_suffix(".svg").is_file() for path in pictures} == {True}  # figures of the report, no photograph
    for path in (root / "report").iterdir():
        assert b"data:image" not in path.read_bytes()
    assert {path: path.read_bytes() for path in kept} == kept
    assert json.loads((root / "run.json").read_text())["sessions"][-1]["jobs"] == 0

    assert run_again(root) == []
    assert contents(root) == before


def test_how_many_may_change_from_call_to_call(root: Path) -> None:
    assert run_again(root, report={"sample_images": 2, "mistakes": 0}) == []
    index = index_of(root)
    assert (len(index["images"]), index["mistakes"]) == (2, None)
    assert run_again(root, report={"sample_images": 0, "mistakes": 3}) == []
    index = index_of(root)
    assert (index["images"], index["tasks"], len(index["mistakes"]["images"])) == ([], [], 3)
    assert json.loads((root / "run.json").read_text())["sessions"][-1]["jobs"] == 0


def test_a_task_that_cannot_be_shown_costs_its_pictures_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(root)

    def fail(*_: object) -> None:
        raise PluginError("show_views() of somebody failed")

    (root / "pictures" / "pictures.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(writing, "seen_views", fail)
        assert run_again(root)[1:] == [
            "what the pretext task 'rotation' sees cannot be shown: show_views() of somebody failed"
        ]
        index = index_of(root)
        assert (index["tasks"], len(index["mistakes"]["images"])) == ([], 12)
    assert run_again(root) == []  # what failed once is tried again
    assert contents(root) == before


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("no such mode"), "ValueError: no such mode"), (StorageError("the disk is full"), "the disk is full")],
)
def test_no_failure_costs_a_result(root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(writing, "encode_all", fail)
    heard = run_again(root, report={"mistakes": 3})
    assert heard == [f"the pictures for the report could not be made: {told}; no result depends on them"]
    assert not (root / "pictures").exists()
    assert [path.name for path in root.iterdir() if path.name.endswith(".part")] == []
    assert json.loads((root / "run.json").read_text())["sessions"][-1]["warnings"] == heard


def test_photographs_that_cannot_be_removed_are_told_of(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(writing, "_remove", fail)
    told = r"earlier pictures could not be removed: PermissionError: .*denied.*; remove .*run/pictures yourself"
    (heard,) = run_again(root, report={"pictures": False})
    assert re.fullmatch(told, heard)


def test_a_link_in_their_place_is_taken_away_and_not_followed(root: Path, tmp_path: Path) -> None:
    outside = shutil.move(root / "pictures", tmp_path / "outside")
    (root / "pictures").symlink_to(outside)
    assert run_again(root, report={"pictures": False}) == []
    assert not (root / "pictures").is_symlink()
    assert (tmp_path / "outside" / "pictures.json").exists()


def test_without_a_pretrained_arm_the_mistakes_of_scratch_are_shown(tmp_path: Path) -> None:
    evaluation = {"arms": ["scratch"], "label_fractions": [1.0]}
    assert run_again(tmp_path / "run", evaluation=evaluation) == []
    index = index_of(tmp_path / "run")
    assert (index["images"], index["tasks"], index["mistakes"]["arm"]) == ([], [], "scratch")
    assert {item["scratch"] for item in index["mistakes"]["images"]} == {None}
