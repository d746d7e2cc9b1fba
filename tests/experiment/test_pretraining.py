from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from studies import prepare_tiny
from torch.utils._python_dispatch import TorchDispatchMode

from sslkit.engine.precision import Compute
from sslkit.engine.seeding import shuffled_rows
from sslkit.experiment import pretraining, pretraining_loop
from sslkit.experiment.cell import CellJob
from sslkit.experiment.checkpoint import read_checkpoint
from sslkit.experiment.pretraining import PretrainingJob


def make_job(root: Path, *, checkpoint_seconds: float = 30, **changes: object) -> PretrainingJob:
    budget = {"epochs": 3, "batch_size": 12, "learning_rate": 1e-3, **changes}
    compute = {"checkpoint_seconds": checkpoint_seconds}
    return prepare_tiny(root, pretraining=budget, compute=compute).jobs.pretrainings[0]


def make_cells(root: Path) -> list[CellJob]:
    return prepare_tiny(root).jobs.cells


def read_log(job: PretrainingJob) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]


def test_a_pretraining_cut_off_and_gone_on_with_is_the_pretraining(tmp_path: Path) -> None:
    whole, cut = make_job(tmp_path / "whole"), make_job(tmp_path / "cut", checkpoint_seconds=0)
    whole.execute(lambda values: None)
    per_epoch = len(cut.rows) // 12

    def stop(values: object) -> None:
        if isinstance(values, dict) and values.get("done") == 2 * per_epoch - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.execute(stop)
    assert not cut.done
    updates: list[int] = []
    cut.execute(lambda values: updates.append(values["done"]) if "done" in values else None)

    assert updates[0] == 2 * per_epoch  # the one before was saved already
    assert cut.done
    assert (cut.folder / "backbone.safetensors").read_bytes() == (whole.folder / "backbone.safetensors").read_bytes()
    logs = [read_log(job) for job in (cut, whole)]
    for line in (*logs[0], *logs[1]):
        line.pop("seconds")
        line.pop("data_seconds")
        assert 2**20 < line.pop("peak_memory") < 2**40
        assert line["views"] == 4 * 12 * per_epoch  # all turns of each image of whole batches
    assert logs[0] == logs[1]
    assert [line["epoch"] for line in logs[0]] == [1, 2, 3]


def cut_off(job: PretrainingJob, update: int) -> Path:
    """Stop a pretraining after an update, as an executor does, and return its checkpoint."""

    def stop(values: Mapping[str, Any]) -> None:
        if values.get("done") == update:
            raise SystemExit

    with pytest.raises(SystemExit):
        job.execute(stop)
    return job.folder / "last.ckpt"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_checkpoint_cut_short_is_named_and_not_used(tmp_path: Path, share: float) -> None:
    job = make_job(tmp_path)
    path = cut_off(job, 2)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    told: list[Mapping[str, Any]] = []

    job.execute(told.append)

    assert told[0] == {"warning": f"the checkpoint {path} is damaged and not used; this pretraining begins anew"}
    assert told[1]["done"] == 1
    assert job.done


def test_a_checkpoint_with_one_bit_changed_is_not_used(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    path = cut_off(job, 2)
    whole = path.read_bytes()
    before = read_checkpoint(path, "cpu")
    assert before is not None
    refused = 0
    for place in np.random.default_rng(0).integers(0, len(whole), 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        state = read_checkpoint(path, "cpu")
        refused += state is None
        # A bit that no content depends on, in the padding between entries, may change without harm.
        assert state is None or same(state, before)
    assert refused > 50


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("update", [1, 2, 5])
def test_a_pretraining_that_is_stopped_goes_on_at_that_very_update(tmp_path: Path, update: int) -> None:
    whole, job = make_job(tmp_path / "whole"), make_job(tmp_path / "cut")
    whole.execute(lambda values: None)
    cut_off(job, update)
    assert not job.done
    updates: list[int] = []

    job.execute(lambda values: updates.append(values["done"]) if "done" in values else None)

    assert updates[0] == update + 1
    assert (job.folder / "backbone.safetensors").read_bytes() == (whole.folder / "backbone.safetensors").read_bytes()
    logs = [read_log(each) for each in (job, whole)]
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]


@pytest.mark.parametrize("name", ["backbone.safetensors", "config.json", "metrics.jsonl", "SHA256SUMS"])
@pytest.mark.parametrize("how", ["cut short", "changed", "gone"])
def test_a_finished_pretraining_that_was_damaged_is_made_anew_from_its_checkpoint(
    tmp_path: Path, name: str, how: str
) -> None:
    job = make_job(tmp_path, keep="best", probe_every=1)
    job.execute(lambda values: None)
    path, files = job.folder / name, ("backbone.safetensors", "config.json", "metrics.jsonl")
    before = {file: (job.folder / file).read_bytes() for file in files}
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] + (b"" if how == "cut short" else b"x" * (len(content) // 2)))
    assert not job.done
    assert any(name in flaw for flaw in job.flaws())
    updates: list[Mapping[str, Any]] = []

    job.execute(updates.append)

    assert (updates, job.done) == ([], True)
    assert {file: (job.folder / file).read_bytes() for file in files} == before


def test_a_checkpoint_of_another_job_is_not_used(tmp_path: Path) -> None:
    other = make_job(tmp_path, learning_rate=1e-2)
    other.execute(lambda values: None)
    job = make_job(tmp_path)
    assert not job.done
    updates: list[int] = []

    job.execute(lambda values: updates.append(values["done"]) if "done" in values else None)

    assert updates[0] == 1
    assert job.done


def test_views_do_not_depend_on_the_chunks_beside_them(tmp_path: Path) -> None:
    job = make_job(tmp_path, batch_size=12)
    worker = pretraining.PretrainingLoop(job, lambda values: None)

    views = worker._views(1)["images"]

    images = torch.from_numpy(job.recipe.cache.open()[:].copy()).permute(0, 3, 1, 2)
    rows = shuffled_rows(job.rows, 12, 12, *worker.seed, "order")
    assert torch.equal(views[::4], images[rows])
    assert torch.equal(views[1::4], torch.rot90(images[rows], 1, (2, 3)))


def test_weights_are_saved_as_timm_names_them(tmp_path: Path) -> None:
    job = make_job(tmp_path)

    job.execute(lambda values: None)

    network = job.recipe.backbone.make().build()
    network.load_state_dict(load_file(job.folder / "backbone.safetensors"), strict=True)
    config = json.loads((job.folder / "config.json").read_text())
    assert config["architecture"] == "test_resnet"
    assert config["num_features"] == network.head_hidden_size
    assert config["sslkit"]["preprocessing"] == {"size": 32, "crop": "fundus"}


def test_rotation_falls_below_chance_loss(tmp_path: Path) -> None:
    job = make_job(tmp_path, epochs=12, learning_rate=3e-3)

    job.execute(lambda values: None)

    losses = [line["loss"] for line in read_log(job)]
    assert losses[-1] < 0.9 * losses[0]


def test_identity_holds_the_budget_and_the_images(tmp_path: Path) -> None:
    job = make_job(tmp_path)

    assert replace(job, rows=job.rows[1:]).identity != job.identity
    assert make_job(tmp_path / "elsewhere").identity == job.identity
    assert make_job(tmp_path, epochs=4).identity != job.identity


class TestProbe:
    def test_stands_in_the_log_at_every_nth_epoch_and_changes_no_weight(self, tmp_path: Path) -> None:
        plain, probed = make_job(tmp_path / "plain"), make_job(tmp_path / "probed", probe_every=2)
        assert plain.identity == probed.identity
        for job in (plain, probed):
            job.execute(lambda values: None)
        assert ["probe_qwk" in line for line in read_log(probed)] == [False, True, False]
        weights = [load_file(job.folder / "backbone.safetensors") for job in (plain, probed)]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_sees_the_labels_of_the_smallest_share_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job = make_job(tmp_path, probe_every=1)
        seen: list[int] = []
        monkeypatch.setattr(
            pretraining_loop, "probe_representation", lambda features, grades, groups: seen.append(len(grades))
        )
        job.execute(lambda values: None)
        fewest = min(cell.training_rows.size for cell in make_cells(tmp_path / "cells") if cell.fold == 0)
        assert seen == [fewest] * 3

    def test_keeps_the_earliest_epoch_with_the_best_probe(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        last, best = make_job(tmp_path / "last", probe_every=1), make_job(tmp_path / "best", probe_every=1, keep="best")
        assert last.identity != best.identity
        scores = iter([0.1, 0.4, 0.4] * 2)
        monkeypatch.setattr(pretraining_loop, "probe_representation", lambda *_: next(scores))
        after: list[dict[str, torch.Tensor]] = []
        end_epoch = pretraining.PretrainingLoop._end_epoch

        def remember(self: Any, *arguments: Any) -> None:
            after.append({name: value.clone() for name, value in self.task.encoder.state_dict().items()})
            end_epoch(self, *arguments)

        monkeypatch.setattr(pretraining.PretrainingLoop, "_end_epoch", remember)
        for job in (last, best):
            job.execute(lambda values: None)
        config = json.loads((best.folder / "config.json").read_text())["sslkit"]
        assert config["epoch"] == 2
        kept = load_file(best.folder / "backbone.safetensors")
        assert all(torch.equal(kept[name], after[4][name]) for name in kept)
        assert not all(torch.equal(kept[name], after[5][name]) for name in kept)

    @pytest.mark.parametrize("scaled", [False, True])
    def test_keeps_the_same_after_a_resume(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scaled: bool) -> None:
        def make_scaler(compute: Compute) -> torch.amp.GradScaler:
            return torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=3, enabled=scaled)

        monkeypatch.setattr(Compute, "make_scaler", make_scaler)
        whole, cut = (
            make_job(tmp_path / name, probe_every=1, keep="best", checkpoint_seconds=0) for name in ("whole", "cut")
        )
        whole.execute(lambda values: None)
        per_epoch = len(cut.rows) // 12

        def stop(values: Any) -> None:
            if values.get("done") == 2 * per_epoch + 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cut.execute(stop)
        cut.execute(lambda values: None)
        assert [line["probe_qwk"] for line in read_log(cut)] == [line["probe_qwk"] for line in read_log(whole)]
        weights = [load_file(job.folder / "backbone.safetensors") for job in (whole, cut)]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


class CountingBytes(TorchDispatchMode):
    """Counts the bytes of every tensor that an operation makes anew."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {value.untyped_storage().data_ptr() for value in args if isinstance(value, torch.Tensor)}
        if isinstance(result, torch.Tensor) and result.untyped_storage().data_ptr() not in given:
            self.made += result.untyped_storage().nbytes()
        return result


def test_a_batch_of_views_is_made_with_no_copy_to_spare(tmp_path: Path) -> None:
    training = pretraining.PretrainingLoop(make_job(tmp_path), lambda values: None)
    image = 3 * 32 * 32
    with CountingBytes() as counting:
        views = training._views(0)
    assert len(views["images"]) == 4 * 12
    assert views["images"].is_contiguous(memory_format=torch.channels_last)
    # Four views an image; beside them, in uint8, the transposed image, three flips of it, and the batch put together.
    assert counting.made <= 12 * image * (4 + 1 + 4 + 4) + 4096


def test_an_update_asks_the_loss_once_and_no_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On an accelerator every question would wait for all work that is queued.
    job = make_job(tmp_path)
    training = pretraining.PretrainingLoop(job, lambda values: None)
    asked: list[str] = []
    for name in ("item", "tolist", "__bool__", "__float__"):
        original = getattr(torch.Tensor, name)

        def spy(self: torch.Tensor, *arguments: Any, name: str = name, original: Any = original) -> Any:
            asked.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(torch.Tensor, name, spy)
    output = training._step(0)
    training._after_update(0, output)
    assert asked == []
