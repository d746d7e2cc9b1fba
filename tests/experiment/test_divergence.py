"""What becomes of a job whose numbers are no longer finite."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from studies import prepare_tiny, save_backbone

from sslkit import StepOutput, Views
from sslkit.errors import TrainingDivergedError
from sslkit.experiment.cell import CellJob
from sslkit.experiment.recipe import Configured
from sslkit.interfaces import Job
from sslkit_rotation import Rotation

RUINOUS = {"learning_rate": 10, "weight_decay": 1e38, "warmup": 0}
"""The first update makes every weight infinite, though its loss is finite."""


def silent(values: object) -> None:
    """Hear nothing."""


def fails_alike(job: Job, said: str) -> None:
    """Hold a job to failing with this message, and with the very same when it is done again."""
    reasons = []
    for _ in range(2):
        with pytest.raises(TrainingDivergedError, match=said) as raised:
            job.execute(silent)
        reasons.append(str(raised.value))
    assert reasons[0] == reasons[1]


def cell_of(root: Path, arm: str, **finetuning: Any) -> CellJob:
    cells = prepare_tiny(root / "run", finetuning={"evaluations": 1, **finetuning}).jobs.cells
    return next(cell for cell in cells if (cell.arm, cell.fraction) == (arm, 0.3))


class TestPretraining:
    def test_stops_at_the_loss(self, tmp_path: Path) -> None:
        job = prepare_tiny(tmp_path, pretraining={**RUINOUS, "batch_size": 8, "epochs": 3}).jobs.pretrainings[0]
        fails_alike(job, r"^the loss is nan at update 2 of \d+, .*; try a lower pretraining\.learning_rate, ")
        assert list(job.folder.iterdir()) == []

    @pytest.mark.parametrize("probe_every", [0, 1])
    def test_keeps_nothing_of_a_last_update_that_ruined_the_weights(self, tmp_path: Path, probe_every: int) -> None:
        budget = {**RUINOUS, "batch_size": 1000, "epochs": 1, "probe_every": probe_every}
        job = prepare_tiny(tmp_path, pretraining=budget).jobs.pretrainings[0]
        fails_alike(job, r"^the weights .* are not finite after update 1 of 1, .* a lower pretraining\.learning_rate, ")
        assert not job.done
        assert list(job.folder.iterdir()) == []


class TestACell:
    @pytest.mark.parametrize("arm", ["scratch", "frozen"])
    def test_stops_while_the_head_is_trained(self, tmp_path: Path, arm: str, pretrained: Path) -> None:
        budget = {**RUINOUS, "head_learning_rate": 10, "updates": 3, "head_updates": 2}
        cell = replace(cell_of(tmp_path, arm, **budget), weights=(pretrained, "any") if arm == "frozen" else None)
        fails_alike(cell, r"at update 2 of [23], .* try a lower finetuning\.head_learning_rate, ")
        assert not cell.folder.exists()

    def test_stops_while_the_network_is_trained(self, tmp_path: Path) -> None:
        cell = cell_of(tmp_path, "scratch", **RUINOUS, updates=5, head_updates=0)
        fails_alike(cell, r"^the loss is nan at update 2 of 5, .* try a lower finetuning\.learning_rate, ")
        assert not cell.folder.exists()

    @pytest.mark.parametrize(("head_updates", "rate"), [(0, "learning_rate"), (1, "head_learning_rate")])
    def test_is_not_scored_by_weights_that_its_last_update_ruined(
        self, tmp_path: Path, head_updates: int, rate: str
    ) -> None:
        budget = {**RUINOUS, "head_learning_rate": 10, "updates": 1, "head_updates": head_updates}
        cell = cell_of(tmp_path, "scratch", **budget)
        fails_alike(cell, rf"^the weights .* are not finite after update 1 of 1, .* try a lower finetuning\.{rate}, ")
        assert not cell.folder.exists()


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """A folder that holds an encoder of random weights, and the features that it says."""
    (job, _) = prepare_tiny(tmp_path / "source").jobs.features
    save_backbone(job.recipe.backbone.make().build().state_dict(), tmp_path)
    replace(job, folder=tmp_path).execute(silent)
    return tmp_path


def test_features_that_are_not_finite_reach_no_frozen_arm(tmp_path: Path) -> None:
    (job, _) = prepare_tiny(tmp_path / "run").jobs.features
    weights = job.recipe.backbone.make().build().state_dict()
    weights["conv1.0.weight"][0] = torch.nan
    save_backbone(weights, tmp_path)
    job = replace(job, folder=tmp_path)
    fails_alike(
        job, r"^the representation of \d+ of \d+ images is not finite; try a lower learning rate where its weig"
    )
    assert not job.done
    assert not (tmp_path / "features.npy").exists()


class Odd(Rotation):
    """Rotation, with metrics that are not numbers at some updates."""

    seen = 0

    def forward(self, views: Views) -> StepOutput:
        Odd.seen += 1
        bad = [torch.tensor(torch.inf), torch.tensor(-torch.inf), torch.tensor(torch.nan)][Odd.seen % 3]
        output = super().forward(views)
        return StepOutput(output.loss, {**output.metrics, "odd": bad})


def test_metrics_that_are_not_finite_are_null_in_the_log_and_left_out_of_the_hook(tmp_path: Path) -> None:
    job = prepare_tiny(tmp_path, pretraining={"epochs": 2, "batch_size": 4}).jobs.pretrainings[0]
    job = replace(job, task=Configured(replace(job.task.info, cls=Odd), job.task.config))
    told: list[dict[str, float]] = []

    job.execute(lambda values: told.append(dict(values["metrics"])) if "metrics" in values else None)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    lines = (job.folder / "metrics.jsonl").read_text().splitlines()
    log = [json.loads(line, parse_constant=refuse) for line in lines]
    assert [line["odd"] for line in log] == [None, None]
    assert [set(metrics) for metrics in told] == [{"loss", "accuracy"}] * 2
    assert load_file(job.folder / "backbone.safetensors")
