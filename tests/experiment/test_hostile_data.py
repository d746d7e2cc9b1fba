"""Data sets and predictions with every hostile file among good ones: none stops or holds up the rest."""

from __future__ import annotations

import csv
import faulthandler
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forking import warm_context
from hostile_images import Sample, make_folder, samples
from PIL import Image
from studies import prepare_tiny, tiny_config

import sslkit
from sslkit.config import to_toml
from sslkit.data.cache import build_cache
from sslkit.data.cropping import crop_and_resize
from sslkit.data.preprocessing import Preprocessing
from sslkit.errors import DataError
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.preparation import Prepared
from sslkit.experiment.running import RunResult
from sslkit.printable import printable
from sslkit_image_folder import ImageFolder, ImageFolderConfig

NUM_GOOD = 24


@pytest.fixture(autouse=True, scope="module")
def _end_what_hangs() -> Iterator[None]:
    faulthandler.dump_traceback_later(900, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def hostile() -> dict[str, Sample]:
    return {sample.name: sample for sample in samples()}


@pytest.fixture(scope="module")
def folder(hostile: dict[str, Sample], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a folder of good images by class, all hostile files and all that is no file; and reasons by name."""
    root = tmp_path_factory.mktemp("images")
    for number in range(NUM_GOOD):
        grade = root / str(number % 5)
        grade.mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(grade / f"{number}.png")
    for sample in hostile.values():
        (root / sample.name).write_bytes(sample.data)
    return root, make_folder(root)


@pytest.fixture(scope="module")
def changes(folder: tuple[Path, dict[str, str]]) -> dict[str, Any]:
    return {
        "dataset": {"name": "image-folder", "path": str(folder[0])},
        "images": {"size": 32, "crop": "center", "on_unreadable": "skip"},
        "evaluation": {"folds": 2, "arms": ["scratch"], "label_fractions": [1.0], "largest_group": 1.0},
        "pretraining": {"epochs": 1},
    }


@pytest.fixture(scope="module")
def prepared(changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_tiny(tmp_path_factory.mktemp("run"), **changes)


def misjudged(
    unreadable: Mapping[str, str], hostile: Mapping[str, Sample], reasons: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the images that should have been read, or not, or for another reason."""
    wrong = {}
    for name, sample in hostile.items():
        reason = unreadable.get(name)
        must = sample.pixels is None and sample.reason is not None
        may = sample.pixels is None or sample.reason is not None
        if (must and reason is None) or (reason is not None and not (may and re.search(sample.reason or "", reason))):
            wrong[name] = reason
    for name, expected in reasons.items():
        reason = unreadable.get(name)
        if (reason is None) != (expected == "") or not re.search(expected, reason or ""):
            wrong[name] = reason
    return wrong


def test_a_folder_of_everything_is_decoded_and_each_bad_image_is_named(
    hostile: dict[str, Sample], folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    dataset = ImageFolder(ImageFolderConfig(path=folder[0]))
    records = dataset.records()
    center = Preprocessing(32, "center")
    cache = build_cache(dataset, records, center, root=tmp_path, workers=2, context=warm_context())
    assert len(records) == NUM_GOOD + len(hostile) + len(folder[1])
    unreadable = {records[row].id: reason for row, reason in cache.unreadable.items()}
    reasons = {name: "" if reason.startswith("its name fits") else reason for name, reason in folder[1].items()}
    assert misjudged(unreadable, hostile, reasons) == {}
    assert all(reason and reason.isprintable() for reason in unreadable.values())
    rows = cache.open()
    for row, record in enumerate(records):
        sample = hostile.get(record.id)
        if sample is not None and sample.pixels is not None and sample.tolerance == 0 and row not in cache.unreadable:
            np.testing.assert_array_equal(rows[row], crop_and_resize(sample.pixels, "center", 32))


@pytest.mark.slow
def test_a_folder_of_everything_is_prepared_and_each_bad_image_is_named(
    prepared: Prepared, hostile: dict[str, Sample], folder: tuple[Path, dict[str, str]]
) -> None:
    unreadable = {item["id"]: item["reason"] for item in prepared.audit.unreadable}
    assert misjudged(unreadable, hostile, folder[1]) == {}
    assert len(prepared.manifest) + len(unreadable) == NUM_GOOD + len(hostile) + len(folder[1])
    assert all(reason and reason.isprintable() for reason in unreadable.values())
    assert not [name for name in unreadable if "/" in name]  # the good ones lie in the folders of classes


@pytest.mark.slow
def test_the_audit_holds_every_name(prepared: Prepared, tmp_path: Path) -> None:
    prepared.audit.write(tmp_path / "audit.json")
    text = (tmp_path / "audit.json").read_bytes().decode()
    assert json.loads(text)["unreadable"] == prepared.audit.unreadable
    assert r"latin-\udce9.png" in text


@pytest.mark.slow
def test_a_run_that_stops_at_bad_images_names_them_in_a_line_each(
    changes: dict[str, Any], folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    stop = {**changes, "images": {**changes["images"], "on_unreadable": "stop"}}
    with pytest.raises(DataError, match=r"\d+ of \d+ images cannot be read") as caught:
        prepare_tiny(tmp_path, **stop)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[-1].startswith("  and ")


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a folder of two classes, each with everything that only a file system can hold, and reasons by id."""
    root = tmp_path_factory.mktemp("names")
    reasons = {}
    for grade in ("0", "1"):
        (root / grade).mkdir()
        for name, reason in make_folder(root / grade).items():
            reasons[f"{grade}/{name}"] = reason
            if not reason:
                pixels = np.random.default_rng(len(reasons)).integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / grade / name, "PNG")
    return root, reasons


def test_names_survive_a_whole_run_and_its_report(
    changes: dict[str, Any], odd_names: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    root, reasons = odd_names
    read = {name for name, reason in reasons.items() if not reason}
    tables = {**changes, "dataset": {"name": "image-folder", "path": str(root)}}
    run = sslkit.run(tiny_config(**tables), tmp_path / "run").directory
    predicted = []
    for path in run.root.glob("cells/*/predictions.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            predicted += [row["image"] for row in csv.DictReader(file)]
    assert sorted(predicted) == sorted(read)
    assert json.loads(run.splits.read_text(encoding="utf-8"))["fold_of"].keys() == read
    unreadable = {item["id"]: item["reason"] for item in json.loads(run.run.read_text("utf-8"))["data"]["unreadable"]}
    assert misjudged(unreadable, {}, reasons) == {}
    page = (run.root / "report" / "index.html").read_text(encoding="utf-8")
    assert r"0/latin-\udce9.png" in page
    assert "<script>alert" not in page


@pytest.mark.slow
def test_a_table_of_everything_is_examined(
    hostile: dict[str, Sample], folder: tuple[Path, dict[str, str]], changes: dict[str, Any], tmp_path: Path
) -> None:
    some = {name: sample for number, (name, sample) in enumerate(hostile.items()) if number % 4 == 0}
    # No table can hold the other names; and a folder that is named as an image is among its rows.
    reasons = {name: why for name, why in folder[1].items() if not why.startswith("its name fits")}
    reasons["folder.png"] = "not a file but a folder"
    for entry in folder[0].iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "folder.png").mkdir()
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        writer.writerows([f"{number % 5}/{number}.png", number % 5] for number in range(NUM_GOOD))
        writer.writerows([name, ""] for name in [*some, *reasons])
    dataset = {"name": "csv", "table": str(tmp_path / "labels.csv")}
    audit = sslkit.doctor(tiny_config(**{**changes, "dataset": dataset}))
    assert misjudged({item["id"]: item["reason"] for item in audit.unreadable}, some, reasons) == {}


def sslkit_command(*arguments: str | Path | bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "sslkit", *(os.fsencode(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, timeout=240, stdin=subprocess.DEVNULL, check=False)


@pytest.mark.slow
def test_the_doctor_shows_every_name_and_what_a_run_will_take(
    odd_names: tuple[Path, dict[str, str]], changes: dict[str, Any], tmp_path: Path
) -> None:
    root, reasons = odd_names
    tables = {**changes, "dataset": {"name": "image-folder", "path": str(root)}}
    config = tmp_path / "study.toml"
    config.write_text(to_toml(tiny_config(**tables).model_dump(mode="json", exclude_none=True)))
    done = sslkit_command("doctor", config)
    assert done.returncode == 0, done.stderr.decode()
    shown = re.sub(r"\s", "", done.stdout.decode())
    for name, reason in reasons.items():
        if reason:
            assert re.sub(r"\s", "", f"unreadable: {printable(name, keep='')}: ") in shown
    assert "Arun:" in shown
    assert "\x1b" not in shown


def test_every_file_is_answered_by_a_prediction(
    tiny_run: RunResult, hostile: dict[str, Sample], folder: tuple[Path, dict[str, str]]
) -> None:
    paths = files(folder[0])
    answers = list(sslkit.predict(tiny_run.directory.root, paths))
    assert [answer.image for answer in answers] == [str(path) for path in paths]
    assert all((answer.grade is None) == (answer.error is not None) for answer in answers)
    errors = {path.name: answer.error for path, answer in zip(paths, answers, strict=True) if answer.error is not None}
    # The crop of that run looks for a retina, and in flat images there is none.
    errors = {name: error for name, error in errors.items() if not error.startswith("no retina found")}
    reasons = {name: "" if reason.startswith("its name fits") else reason for name, reason in folder[1].items()}
    assert misjudged(errors, hostile, reasons) == {}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_symlink() or not path.is_dir())


MEASURE = """
import sys
import sslkit
from benchmarks.process_memory import memory

run, *paths = sys.argv[1:]
peaks = []
for times in (1, 4):
    answers = sum(1 for answer in sslkit.predict(run, paths * times))
    assert answers == len(paths) * times
    peaks.append(memory("VmHWM") // 2**20)
print(peaks[1] - peaks[0])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_files_that_are_predicted(
    tiny_run: RunResult, folder: tuple[Path, dict[str, str]]
) -> None:
    tests = str(Path(__file__).parents[1])
    script = f"import sys; sys.path.insert(0, {tests!r})\n{MEASURE}"
    command = [sys.executable, "-c", script, tiny_run.directory.root, *files(folder[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    assert int(done.stdout) < 100


@pytest.mark.slow
def test_names_that_are_no_text_are_shown_with_escapes(
    tiny_run: RunResult, folder: tuple[Path, dict[str, str]]
) -> None:
    odd, pipe = os.fsencode(folder[0]) + b"/latin-\xe9.png", folder[0] / "pipe.png"
    shown = sslkit_command("predict", tiny_run.directory.root, odd, pipe)
    assert shown.returncode == 1
    assert b"pipe.png cannot be read: [Errno 22] not a file but a named pipe" in shown.stderr
    assert rb"latin-\udce9.png" in re.sub(rb"\s", b"", shown.stdout)
    told = sslkit_command("predict", tiny_run.directory.root, odd, pipe, "--json")
    first, second = json.loads(told.stdout)
    assert os.fsencode(first["image"]) == odd
    assert (first["error"], second["grade"]) == (None, None)


def test_the_limit_of_pixels_is_that_of_the_configuration(
    changes: dict[str, Any], tiny_run: RunResult, folder: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    few = {**changes, "dataset": {"name": "synthetic-fundus", "patients": 8}, "images": {"size": 32, "max_pixels": 99}}
    with pytest.raises(DataError, match=r"none of the \d+ images can be read:\n.*: too large: [\d,]+ pixels; .*99\."):
        prepare_tiny(tmp_path, **few)
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    assert predictor.preprocessing.max_pixels == 100_000_000
    predictor.preprocessing = replace(predictor.preprocessing, max_pixels=1599)
    (answer,) = predictor.predict([folder[0] / "0" / "0.png"])
    assert "too large: 1,600 pixels; accepted: up to 1,599" in (answer.error or "")
