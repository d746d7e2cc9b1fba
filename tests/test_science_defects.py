"""What went wrong in the study that this toolkit sets out to repeat, each defect held off by a test."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from studies import tiny_config

import sslkit
from sslkit.blame import Provenance
from sslkit.data.duplicates import find_duplicates
from sslkit.data.manifest import Manifest, read_manifest
from sslkit.data.splits import make_splits
from sslkit.engine.precision import Compute
from sslkit.errors import JobError, WeightsError
from sslkit.experiment.audit import join_duplicates
from sslkit.experiment.environment import process_context
from sslkit.experiment.observation import Silent
from sslkit.experiment.plan import make_manifest
from sslkit.experiment.preparation import Prepared, prepare
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve
from sslkit.types import Record
from sslkit_dr import DRGrade, DRGradeConfig


class Records:
    """As much of a data set as a manifest is read from."""

    name = "made-up"
    provenance = Provenance("the data set 'made-up'", __name__)

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    def records(self) -> list[Record]:
        return self._records


def manifest_of(records: list[Record]) -> Manifest:
    return read_manifest(Records(records), int, "01234")  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["ordinal", "regression", "softmax"])
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1.0, 1e3, 1e30]))
def test_1_every_prediction_is_a_grade(encoding: Any, seed: int, scale: float) -> None:
    head = DRGrade(DRGradeConfig(encoding=encoding), num_features=1)
    width = {"ordinal": 4, "regression": 1, "softmax": 5}[encoding]
    logits = scale * torch.randn(50, width, generator=torch.Generator().manual_seed(seed))

    # No threshold passed, in all of an image's logits, was what decoded to -1.
    classes = head.predict(torch.cat([logits, -logits.abs()])).classes

    assert classes.min() >= 0
    assert classes.max() <= 4


def test_1_an_image_that_passes_no_threshold_is_healthy() -> None:
    head = DRGrade(DRGradeConfig(), num_features=1)

    assert head.predict(torch.full((1, 4), -9.0)).classes.tolist() == [0]


def test_1_kappa_refuses_what_is_no_grade_and_drops_no_row() -> None:
    targets = np.array([0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    half_right = np.where(np.arange(10) < 5, targets, -1)

    with pytest.raises(ValueError, match=r"predictions.*-1"):
        sslkit.quadratic_weighted_kappa(targets, half_right, num_classes=5)


def test_2_every_arm_and_share_has_the_same_updates_and_schedule(tiny_run: RunResult) -> None:
    curves: dict[str, list[list[tuple[Any, ...]]]] = {}
    for folder in sorted(tiny_run.directory.root.glob("cells/*")):
        arm = json.loads((folder / "result.json").read_text())["arm"]
        points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        curves.setdefault(arm, []).append([(p["update"], p["phase"], p["learning_rate"]) for p in points])

    # Two shares in each of two folds.
    assert [len(curves[arm]) for arm in ("pretrained", "scratch", "frozen")] == [4, 4, 4]
    expected = curves["scratch"][0]
    assert [update for update, _, _ in expected] == [2, 4, 6]
    assert all(curve == expected for curve in curves["scratch"] + curves["pretrained"])
    assert all([update for update, _, _ in curve] == [2, 4, 6] for curve in curves["frozen"])


def prepare_tiny(folder: Path) -> Prepared:
    study = resolve(tiny_config(), sslkit.build_registry())
    context = process_context(study.modules())
    compute = Compute("cpu", "fp32")
    return prepare(study, RunDirectory(folder), compute, make_manifest(study), 1, context, Silent(), print)


def test_3_no_pretraining_sees_the_patients_that_test_its_fold(tmp_path: Path) -> None:
    prepared = prepare_tiny(tmp_path / "run")

    assert [job.fold for job in prepared.jobs.pretrainings] == [0, 1]
    for job in prepared.jobs.pretrainings:
        seen = {job.recipe.groups[row] for row in job.rows}
        cells = [cell for cell in prepared.jobs.cells if cell.fold == job.fold]
        tested = {job.recipe.groups[row] for cell in cells for row in cell.test_rows}
        assert tested
        assert seen.isdisjoint(tested)
        # What has no label tests nothing, and is there to be learnt from.
        assert {job.recipe.groups[row] for row in np.flatnonzero(job.recipe.grades < 0)} <= seen
        sources = {cell.weights for cell in cells if cell.arm in ("pretrained", "frozen", "knn")}
        assert sources == {(job.folder, job.identity)}


def test_3_pretraining_on_all_images_is_called_transductive(tiny_run: RunResult, tmp_path: Path) -> None:
    config = tiny_config(
        pretraining={"images": "all", "epochs": 1},
        finetuning={"updates": 1, "head_updates": 0, "evaluations": 1},
        evaluation={"folds": 2, "arms": ["pretrained"], "label_fractions": [1.0]},
        compute={"precision": "fp32", "workers": 1},
    )

    everything = sslkit.run(config, tmp_path / "run").directory

    for directory, transductive in ((everything, True), (tiny_run.directory, False)):
        assert json.loads(directory.run.read_text())["transductive"] is transductive
        said = "Transductive: the pretraining saw every image, those of the test folds included"
        assert (said in (directory.root / "report" / "index.html").read_text()) is transductive


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_4_folds_are_stratified_and_divide_no_patient(seed: int) -> None:
    grades = np.random.default_rng(seed).permutation(np.repeat(np.arange(5), 10)).tolist()
    records = [
        Record(f"{patient}_{eye}", label=grade, group=str(patient))
        for patient, grade in enumerate(grades)
        for eye in "LR"
    ]

    splits = make_splits(manifest_of(records), num_classes=5, folds=5, repetitions=1, seed=seed)

    assert (splits.fold_of[::2] == splits.fold_of[1::2]).all()
    for fold in range(5):
        assert np.bincount(splits.grades[splits.test_rows(fold)], minlength=5).tolist() == [4] * 5


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda tensors: tensors.pop("weight"), "1 missing: weight"),
        (lambda tensors: tensors.update(wight=tensors["weight"].clone()), "1 unexpected: wight"),
        (lambda tensors: tensors.update(weight=torch.zeros(3, 5)), "1 of another shape: weight"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_5_weights_that_fit_in_part_are_refused_whole(tmp_path: Path, damage: Any, problem: str) -> None:
    tensors = {name: torch.full_like(value, 7.0) for name, value in torch.nn.Linear(4, 3).state_dict().items()}
    damage(tensors)
    save_file(tensors, tmp_path / "partial.safetensors")
    network = torch.nn.Linear(4, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    with pytest.raises(WeightsError, match=rf"nothing was loaded:\n  {problem}"):
        sslkit.load_weights(network, tmp_path / "partial.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_5_a_pretraining_hands_over_every_tensor_of_its_encoder(tiny_run: RunResult) -> None:
    network = resolve(tiny_config(), sslkit.build_registry()).backbone.make().build()
    saved = load_file(tiny_run.directory.pretraining("rotation", 0) / "backbone.safetensors")

    assert saved.keys() == network.state_dict().keys()


def test_6_what_diverged_is_reported_and_not_rolled_again(tmp_path: Path) -> None:
    config = tiny_config(
        pretraining={"learning_rate": 10, "weight_decay": 1e30, "epochs": 3},
        finetuning={"updates": 1, "head_updates": 0, "evaluations": 1},
        evaluation={"folds": 2, "arms": ["pretrained", "scratch"], "label_fractions": [1.0]},
        compute={"precision": "fp32", "workers": 1},
    )

    failures = []
    for _ in range(2):
        with pytest.raises(JobError, match=r"4 jobs failed; the others are kept"):
            sslkit.run(config, tmp_path / "run")
        failures.append(json.loads((tmp_path / "run" / "run.json").read_text())["failed_jobs"])

    assert failures[0] == failures[1]
    assert [failure["job"] for failure in failures[0] if "at update" in failure["reason"]] == [
        "pretraining/rotation/0",
        "pretraining/rotation/1",
    ]
    with (tmp_path / "run" / "results.csv").open(newline="") as file:
        assert [row["arm"] for row in csv.DictReader(file)] == ["scratch", "scratch"]
    report = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "4 jobs failed; what follows goes without." in report
    assert "lacking, by arm and share of the labels: rotation, pretrained at 100 %: 2." in report
    assert JobError.exit_status == 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_7_copies_under_other_names_stay_on_one_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    twins = rng.permutation(40).reshape(-1, 2)[:8]
    images[twins[:, 1]] = images[twins[:, 0]]
    manifest = manifest_of([Record(str(number), label=number % 5) for number in range(40)])

    duplicates = find_duplicates(images, [f"file {number}" for number in range(40)])
    joined = join_duplicates(manifest, duplicates, largest_group=0.05)
    splits = make_splits(joined, num_classes=5, folds=4, repetitions=1, seed=seed)

    assert sorted(duplicates.identical) == sorted(tuple(sorted(pair)) for pair in twins.tolist())
    assert (splits.fold_of[twins[:, 0]] == splits.fold_of[twins[:, 1]]).all()
    assert len(joined.group_names) == 40 - 8


def test_7_copies_whose_grades_differ_are_listed(tmp_path: Path) -> None:
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        (tmp_path / str(number % 5)).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / str(number % 5) / f"{number}.png")
    shutil.copy(tmp_path / "1/1.png", tmp_path / "4/copy.png")
    shutil.copy(tmp_path / "2/2.png", tmp_path / "2/copy.png")

    audit = sslkit.doctor(
        tiny_config(
            dataset={"name": "image-folder", "path": str(tmp_path)},
            images={"crop": "center"},
            compute={"precision": "fp32", "workers": 1},
        )
    )

    assert audit.duplicates["identical"] == [["1/1.png", "4/copy.png"], ["2/2.png", "2/copy.png"]]
    assert audit.duplicates["conflicts"] == [{"images": ["1/1.png", "4/copy.png"], "grades": [1, 4]}]
