from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from agreement import Agreement, registry_with_agreement
from hypothesis import given
from hypothesis import strategies as st
from studies import prepare_tiny, tiny_config
from torch import nn

import sslkit
from sslkit import PluginConfig
from sslkit.experiment import pretraining, pretraining_loop
from sslkit.experiment.collapse import collapse_notices, collapse_sentence, ended_collapsed
from sslkit.experiment.collapse_watch import (
    CollapseWatch,
    effective_rank,
    epochs_between,
    feature_spread,
    updates_to_settle,
)
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.recipe import Configured

TRANSFORMER = {"name": "timm", "model": "test_vit", "options": {"img_size": 32}}
LEARNABLE = {"epochs": 60, "batch_size": 4, "learning_rate": 1e-3}


def gaussian(num_images: int, width: int, rank: int, seed: int = 0) -> npt.NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(width, rank)))[0]
    return rng.normal(size=(num_images, rank)) @ basis.T


def read_log(job: PretrainingJob) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]


class TestSpread:
    @pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
    def test_of_one_and_the_same_representation_is_nothing(self, scale: float) -> None:
        row = np.random.default_rng(0).normal(size=(1, 40)).astype(np.float32)
        assert feature_spread(np.repeat(scale * row, 30, axis=0)) == 0

    def test_of_no_representation_at_all_is_nothing(self) -> None:
        assert feature_spread(np.zeros((30, 8), np.float32)) == 0

    def test_of_rounding_is_nothing(self) -> None:
        constant = np.full((30, 64), 0.1, np.float32)
        assert (
            feature_spread(np.nextafter(constant, np.float32(1), where=np.arange(30)[:, None] % 2 == 0, out=constant))
            == 0
        )

    @pytest.mark.parametrize("width", [8, 64, 512])
    def test_of_a_gaussian_is_that_of_no_preferred_direction(self, width: int) -> None:
        features = gaussian(4000, width, width)
        assert feature_spread(features) == pytest.approx(1, abs=0.02)
        # Chen and He's own figure: the standard deviation of each dimension is 1 / sqrt(D).
        by_dimension = (features / np.linalg.norm(features, axis=1, keepdims=True)).std(axis=0)
        assert feature_spread(features) == pytest.approx(math.sqrt(width) * by_dimension.mean(), rel=0.02)

    def test_is_what_is_left_of_one_beside_the_mean_direction(self) -> None:
        features = gaussian(50, 6, 6) + 2
        mean = (features / np.linalg.norm(features, axis=1, keepdims=True)).mean(axis=0)
        assert feature_spread(features) ** 2 == pytest.approx(1 - (mean**2).sum())


class TestEffectiveRank:
    def test_of_one_and_the_same_representation_is_one(self) -> None:
        assert effective_rank(np.ones((30, 8), np.float32)) == pytest.approx(1)

    def test_of_no_representation_at_all_is_zero(self) -> None:
        assert effective_rank(np.zeros((30, 8), np.float32)) == 0

    @pytest.mark.parametrize("rank", [1, 3, 10])
    def test_of_representations_that_fill_a_subspace_is_its_dimension(self, rank: int) -> None:
        assert effective_rank(gaussian(5000, 64, rank)) == pytest.approx(rank, rel=0.02)

    def test_of_orthogonal_representations_is_their_number(self) -> None:
        assert effective_rank(5 * np.eye(7)[:4]) == pytest.approx(4)

    def test_is_the_exponential_of_an_entropy(self) -> None:
        features = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1]])  # of length one; singular values sqrt(3) and 1
        shares = np.array([math.sqrt(3), 1]) / (math.sqrt(3) + 1)
        assert effective_rank(features) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(2, 30), st.integers(2, 20)),
    scale=st.floats(1e-3, 1e3),
)
def test_neither_scale_nor_turns_nor_order_matter(seed: int, size: tuple[int, int], scale: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=size) + 3 * rng.normal(size=size[1])
    turn = np.linalg.qr(rng.normal(size=(size[1], size[1])))[0]
    lengths = rng.uniform(0.5, 2, size=(size[0], 1))
    for changed in (scale * features, lengths * features, features @ turn, rng.permutation(features, axis=0)):
        assert feature_spread(changed) == pytest.approx(feature_spread(features), rel=1e-6)
        assert effective_rank(changed) == pytest.approx(effective_rank(features), rel=1e-6)
    assert 0 <= feature_spread(features) <= 1
    assert 1 <= effective_rank(features) <= min(size) * (1 + 1e-9)


@pytest.mark.parametrize("epochs", [1, 2, 7, 60, 200, 1000])
@pytest.mark.parametrize("num_images", [40, 128, 3000])
def test_looking_is_rare_enough_to_be_cheap(epochs: int, num_images: int) -> None:
    watched = min(num_images, 128)
    between = epochs_between(epochs, num_images, watched)
    looks = -(-epochs // between)
    assert 1 <= looks <= 20
    assert (looks + 2) * watched <= max(0.03 * 3 * epochs * num_images, 3 * watched)


def test_statistics_settle_the_later_the_slower_they_move() -> None:
    slow = nn.Sequential(nn.BatchNorm1d(2, momentum=0.01), nn.BatchNorm1d(2))
    updates = updates_to_settle(slow)
    assert 0.99**updates < 0.05 <= 0.99 ** (updates - 1)
    assert updates_to_settle(nn.BatchNorm1d(2, momentum=None)) == 0
    assert updates_to_settle(nn.BatchNorm1d(2, momentum=1.0)) == 0


def line(epoch: int, spread: float) -> dict[str, float]:
    return {"epoch": epoch, "feature_spread": spread, "untrained_spread": 0.4}


def test_what_counts_is_how_a_pretraining_ended() -> None:
    assert ended_collapsed([line(1, 0.3), line(2, 0.039), {"epoch": 3}])
    assert not ended_collapsed([line(1, 0.0), line(2, 0.041)])
    assert not ended_collapsed([{"epoch": 1}])
    assert not ended_collapsed([])
    # A task may have a metric of that name.
    assert not ended_collapsed([{"epoch": 1, "feature_spread": 0.0}])
    # Images that look all the same to an untrained network tell nothing.
    assert not ended_collapsed([{"epoch": 1, "feature_spread": 0.0, "untrained_spread": 0.0}])


def test_the_folds_of_a_task_share_a_notice(tmp_path: Path) -> None:
    for fold, spread in (("0", 0.0), ("1", 0.3), ("2", 0.01)):
        (tmp_path / fold).mkdir()
        (tmp_path / fold / "metrics.jsonl").write_text(
            json.dumps(line(1, 0.2)) + "\n" + json.dumps(line(2, spread)) + "\n"
        )
    pretrainings = [("a", tmp_path / "0"), ("a", tmp_path / "1"), ("a", tmp_path / "2"), ("b", tmp_path / "1")]
    assert collapse_notices(pretrainings) == [collapse_sentence("a", ["0", "2"])]
    assert collapse_sentence("a", ["0", "2"]).startswith(
        "The representation of the pretext task 'a' has collapsed (folds 0, 2): the backbone says nearly the same of"
    )
    assert "(fold 3)" in collapse_sentence("a", ["3"])
    assert "(on all images)" in collapse_sentence("a", ["all"])


class TestAWatch:
    @staticmethod
    def job(root: Path, **changes: Any) -> PretrainingJob:
        return prepare_tiny(root, pretraining={"epochs": 2, "batch_size": 8, **changes}).jobs.pretrainings[0]

    @pytest.fixture
    def watch(self, tmp_path: Path) -> CollapseWatch:
        return pretraining.PretrainingLoop(self.job(tmp_path, epochs=60, batch_size=4), lambda values: None).watch

    def test_changes_no_bit_of_what_is_learnt(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Blind(CollapseWatch):
            def __init__(self, *arguments: Any) -> None: ...

            def due(self, epoch: int, updates_done: int) -> bool:
                return False

        class Staring(CollapseWatch):
            def due(self, epoch: int, updates_done: int) -> bool:
                return True

        weights = []
        for watch in (Blind, Staring):
            job = self.job(tmp_path / watch.__name__)
            monkeypatch.setattr(pretraining_loop, "CollapseWatch", watch)
            job.execute(lambda values: None)
            weights.append((job.folder / "backbone.safetensors").read_bytes())
            assert all(("feature_spread" in line) == (watch is Staring) for line in read_log(job))
        assert weights[0] == weights[1]

    def test_leaves_the_task_and_the_global_generator_as_they_were(self, tmp_path: Path) -> None:
        training = pretraining.PretrainingLoop(self.job(tmp_path), lambda values: None)
        training.task.train()
        before = {name: value.clone() for name, value in training.task.state_dict().items()}
        state = torch.random.get_rng_state()

        watch = CollapseWatch(
            training.task, training.images, training.job.rows, training.recipe.pretraining, training.recipe.compute
        )
        watch.look()

        assert torch.equal(torch.random.get_rng_state(), state)
        assert all(torch.equal(value, before[name]) for name, value in training.task.state_dict().items())
        assert all(module.training for module in training.task.modules())

    def test_waits_for_batchnorm_and_looks_at_the_end_in_any_case(self, watch: CollapseWatch) -> None:
        assert [epoch for epoch in range(1, 61) if watch.due(epoch, 7 * epoch)] == [20, 40, 60]
        assert not watch.due(20, 28)
        assert watch.due(60, 29)

    def test_warns_once_of_what_lasts(self, watch: CollapseWatch) -> None:
        assert watch.warning([line(20, 0.0)]) is None
        said = watch.warning([line(20, 0.0), line(40, 0.02)])
        assert said is not None
        assert (
            "collapsed at epoch 40: the backbone says nearly the same of every image (spread 0.02, untrained 0.4)"
            in said
        )
        assert "try a lower pretraining.learning_rate" in said
        assert watch.warning([line(20, 0.0), line(40, 0.02), line(60, 0.0)]) is None

    def test_warns_at_the_end_at_the_latest(self, watch: CollapseWatch) -> None:
        assert watch.warning([line(20, 0.0), line(40, 0.3)]) is None
        assert watch.warning([line(20, 0.0), line(40, 0.3), line(60, 0.3)]) is None
        assert watch.warning([line(60, 0.0)]) is not None

    def test_measures_the_same_after_a_resume(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(CollapseWatch, "due", lambda self, epoch, updates_done: True)
        whole, cut = self.job(tmp_path / "whole"), self.job(tmp_path / "cut")
        cut = replace(cut, recipe=replace(cut.recipe, checkpoint_seconds=0.0))
        whole.execute(lambda values: None)

        def stop(values: Any) -> None:
            if values.get("epoch") == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cut.execute(stop)
        cut.execute(lambda values: None)
        names = ("epoch", "feature_spread", "untrained_spread", "effective_rank")
        logs = [[[line[name] for name in names] for line in read_log(job)] for job in (whole, cut)]
        assert logs[0] == logs[1]
        assert len({tuple(values) for values in logs[0]}) == 2


def test_a_task_that_rewards_sameness_is_told_of_and_goes_on(tmp_path: Path) -> None:
    budget = {"epochs": 20, "batch_size": 8, "learning_rate": 3e-3}
    job = prepare_tiny(tmp_path, backbone=TRANSFORMER, pretraining=budget).jobs.pretrainings[0]
    job = replace(job, task=Configured(replace(job.task.info, name="agreement", cls=Agreement), PluginConfig()))
    told: list[Any] = []

    job.execute(told.append)

    warnings = [values["warning"] for values in told if "warning" in values]
    assert len(warnings) == 1
    assert warnings[0].startswith("the representation is collapsed at epoch 20: ")
    last = read_log(job)[-1]
    assert last["feature_spread"] < 0.05 * last["untrained_spread"]
    assert last["effective_rank"] < 1.2
    metrics = [values["metrics"] for values in told if "metrics" in values]
    assert metrics[-1] == {name: last[name] for name in ("loss", "feature_spread", "effective_rank")}
    assert job.done


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [TRANSFORMER, {"name": "timm", "model": "test_resnet"}])
def test_rotation_that_is_learnt_is_not_told_of(tmp_path: Path, backbone: dict[str, Any]) -> None:
    job = prepare_tiny(tmp_path, backbone=backbone, pretraining=LEARNABLE).jobs.pretrainings[0]
    told: list[Any] = []

    job.execute(told.append)

    assert not any("warning" in values for values in told)
    last = read_log(job)[-1]
    assert last["accuracy"] > 0.9
    assert last["feature_spread"] > 0.3 * last["untrained_spread"]


@pytest.mark.slow
def test_a_run_flags_the_task_that_collapsed_and_not_the_other(tmp_path: Path) -> None:
    config = tiny_config(
        backbone=TRANSFORMER,
        pretext=[{"name": "rotation"}, {"name": "agreement"}],
        pretraining=LEARNABLE,
        finetuning={"updates": 1, "head_updates": 0, "evaluations": 1},
        evaluation={"arms": ["pretrained", "scratch"], "folds": 2, "label_fractions": [1.0]},
    )

    result = sslkit.run(config, tmp_path / "run", registry=registry_with_agreement())

    said = collapse_sentence("agreement", ["0", "1"])
    assert said in result.notices
    assert not any("rotation" in notice for notice in result.notices)
    assert json.loads(result.directory.run.read_text())["notices"] == result.notices
    page = (tmp_path / "run" / "report" / "index.html").read_text().replace("&#x27;", "'")
    assert page.count(said) == 3  # on top, beside the verdicts, and over the curves
    assert "feature spread of agreement by epoch, 2 pretrainings" in page
    assert "feature spread of rotation by epoch, 2 pretrainings" in page
