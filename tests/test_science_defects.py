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
from sslkit.data.duplicates import find_duplicates
from sslkit.data.manifest import Manifest, read_manifest
from sslkit.data.splits import make_splits
from sslkit.errors import JobError, WeightsError
from sslkit.experiment.audit import join_duplicates
from sslkit.experiment.plan import resolve
from sslkit.experiment.running import RunResult
from sslkit.types import Record


class Records:
    """As much of a data set as a manifest is read from."""

    name = "made-up"

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    def records(self) -> list[Record]:
        return self._records


def manifest_of(records: list[Record]) -> Manifest:
    return read_manifest(Records(records), int, "01234")  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["ordinal", "regression", "softmax"])
@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1.0, 1e3, 1e30]))
def test_1_every_prediction_is_a_grade(encoding: str, seed: int, scale: float) -> None:
    head = resolve(tiny_config(head={"name": "dr-grade", "encoding": encoding}), sslkit.build_registry()).make_head()
    width = {"ordinal": 4, "regression": 1, "softmax": 5}[encoding]
    logits = scale * torch.randn(50, width, generator=torch.Generator().manual_seed(seed))

    # No threshold passed, in all of an image's logits, was what decoded to -1.
    classes = head.predict(torch.cat([logits, -logits.abs()])).classes

    assert classes.min() >= 0
    assert classes.max() <= 4


def test_1_an_image_that_passes_no_threshold_is_healthy() -> None:
    head = resolve(tiny_config(), sslkit.build_registry()).make_head()

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


def test_3_no_pretraining_sees_the_images_that_test_its_fold(tiny_run: RunResult) -> None:
    config = tiny_config()
    splits = json.loads(tiny_run.directory.splits.read_text())
    images = len(splits["fold_of"])

    # The last epoch's update tells how many images an epoch drew from: those of the other folds and the unlabelled.
    for fold in range(2):
        seen = [name for name, tested in splits["fold_of"].items() if tested != fold]
        assert len(seen) < images
        log = (tiny_run.directory.pretraining("rotation", fold) / "metrics.jsonl").read_text().splitlines()
        epoch = json.loads(log[-1])
        assert epoch["update"] == epoch["epoch"] * (len(seen) // config.pretraining.batch_size)
    assert json.loads(tiny_run.directory.run.read_text())["transductive"] is False
    assert "Transductive:" not in (tiny_run.directory.root / "report" / "index.html").read_text()
