from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from parallel_training import ROUNDING, difference, job_of, log_difference, results_of, with_processes
from safetensors.torch import load_file
from uneven import UNEVEN

import sslkit
from sslkit.errors import PluginError, RunError, TrainingDivergedError
from sslkit.experiment import data_parallel
from sslkit.experiment.checkpoint import read_checkpoint
from sslkit.experiment.pretraining import PretrainingJob
from sslkit_local import Local

SMALL_DINO = {"num_prototypes": 64, "hidden_width": 32, "bottleneck": 16}
PARTS = [{"name": "rotation"}, {"name": "simclr"}, {"name": "mae", "weight": 0.5}]
OPTIONS: dict[str, dict[str, Any]] = {"dino": SMALL_DINO, "combine": {"parts": PARTS}}

FEW = ("rotation", "simclr", "moco", "dino", "barlow-twins")
WITHOUT_BATCH_NORM = ("rotation", "moco")
OTHERS = sorted(set(sslkit.build_registry().names("pretext-task")) - set(FEW))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PretrainingJob]:
    root = tmp_path_factory.mktemp("plans")
    jobs = {name: job_of(root / name, {"name": name, **OPTIONS.get(name, {})}) for name in FEW}
    for name in WITHOUT_BATCH_NORM:
        jobs[f"{name} without BatchNorm"] = job_of(root / f"{name}-convnext", {"name": name}, "test_convnext")
    return jobs


@pytest.fixture(scope="module")
def alone(jobs: dict[str, PretrainingJob], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results_of(jobs, 1, tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def together(jobs: dict[str, PretrainingJob], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results_of(jobs, 2, tmp_path_factory.mktemp("together"))


def assert_same(alone: list[Any], together: list[Any]) -> None:
    assert len(alone[0]["log"]) == 2
    assert difference(alone[0]["state"], together[0]["state"]) < ROUNDING
    # The log's figures are of single precision here and there: those of views, and of what looks for collapse.
    assert max(log_difference(alone[0]["log"], together[0]["log"]).values()) < 1e-7
    assert all(difference(together[0]["state"], other["state"]) == 0 for other in together[1:])


@pytest.mark.parametrize("name", [*FEW, *(f"{name} without BatchNorm" for name in WITHOUT_BATCH_NORM)])
def test_two_processes_learn_what_one_learns(name: str, alone: dict[str, Any], together: dict[str, Any]) -> None:
    assert_same(alone[name], together[name])
    assert all(line["loss"] != 0 for line in alone[name][0]["log"])


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_two_processes_learn_by_any_task_what_one_learns(name: str, tmp_path: Path) -> None:
    jobs = {name: job_of(tmp_path / "plan", {"name": name, **OPTIONS.get(name, {})})}
    assert_same(*(results_of(jobs, count, tmp_path / str(count))[name] for count in (1, 2)))


@pytest.mark.slow
def test_so_do_two_processes_that_train_a_vision_transformer_part_of_which_no_loss_reaches(tmp_path: Path) -> None:
    jobs = {"mae": job_of(tmp_path / "plan", {"name": "mae"}, "test_vit")}
    assert_same(*(results_of(jobs, count, tmp_path / str(count))["mae"] for count in (1, 2)))


@pytest.mark.slow
def test_so_do_four_processes(tmp_path: Path) -> None:
    jobs = {"moco": job_of(tmp_path / "plan", {"name": "moco"}, batch_size=32)}
    assert_same(*(results_of(jobs, count, tmp_path / str(count))["moco"] for count in (1, 4)))


def test_a_pretraining_goes_on_with_another_number_of_processes(tmp_path: Path, jobs: Any, alone: Any) -> None:
    few = {"rotation": jobs["rotation"], "moco": jobs["moco"]}
    begun = results_of(few, 1, tmp_path, until=1)
    more = results_of(few, 2, tmp_path, until=3)
    ended = results_of(few, 1, tmp_path)
    for name in few:
        assert [part[name][0]["updates"] for part in (begun, more, ended)] == [[1], [2, 3], [4]]
        assert_same(alone[name], ended[name])


def test_batch_norm_of_its_own_part_is_another_network(tmp_path: Path, jobs: Any, alone: Any) -> None:
    own = results_of({"rotation": jobs["rotation"]}, 2, tmp_path, sync_batchnorm=False)["rotation"]
    assert difference(alone["rotation"][0]["state"], own[0]["state"]) > 1e-4
    means = [name for name in own[0]["state"] if name.endswith("running_mean")]
    assert not torch.equal(own[0]["state"][means[0]], own[1]["state"][means[0]])
    weights = [{name: value for name, value in each["state"].items() if "running" not in name} for each in own]
    assert difference(*weights) == 0


def test_processes_are_in_the_identity_where_batch_norm_sees_their_parts(jobs: Any, tmp_path: Path) -> None:
    def identity(processes: int, **recipe: Any) -> str:
        return with_processes(jobs["rotation"], processes, tmp_path, **recipe).identity

    one = identity(1)
    assert one == jobs["rotation"].identity == identity(2) == identity(1, sync_batchnorm=False)
    apart = [identity(count, sync_batchnorm=False) for count in (2, 4)]
    assert len({one, *apart}) == 3


def test_parts_of_a_batch_are_the_batch(jobs: Any) -> None:
    stream = jobs["moco"].views
    task = stream.make_task()
    whole = stream.views(task, 3)["images"]
    parts = [stream.views(task, 3, part, 2)["images"] for part in range(2)]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.slow
def test_a_compiled_task_is_trained_by_two_processes(tmp_path: Path) -> None:
    plain = job_of(tmp_path / "plain", {"name": "simclr"}, compute={"processes": 2}, epochs=1)
    compute = replace(plain.recipe.compute, compile=True)
    compiled = with_processes(plain, 2, tmp_path / "compiled", compute=compute)
    losses: list[float] = []
    for each in (plain, compiled):
        each.execute(lambda values: None)
        losses += [json.loads(line)["loss"] for line in each.log.read_text().splitlines()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


class TestItsOwnProcesses:
    """What the process of a job makes of the processes that it has started."""

    def job(self, root: Path, name: str = "uneven", **changes: Any) -> PretrainingJob:
        settings = {"processes": 2, "checkpoint_seconds": 0, "precision": "fp32"}
        job = job_of(root, {"name": name}, plugins=UNEVEN, compute=settings, **{"epochs": 3, **changes})
        return replace(job, rows=job.rows[:32])

    def test_report_as_one_process_does_and_leave_what_it_leaves(self, tmp_path: Path) -> None:
        job, told = self.job(tmp_path), []
        job.execute(told.append)
        assert [values["done"] for values in told if "done" in values] == [1, 2, 3, 4, 5, 6]
        assert [values["epoch"] for values in told if "epoch" in values] == [1, 2, 3]
        assert job.done
        lines = [json.loads(line) for line in job.log.read_text().splitlines()]
        assert [line["processes"] for line in lines] == [2, 2, 2]
        assert [line["views"] for line in lines] == [32, 32, 32]
        network = job.recipe.backbone.make().build()
        network.load_state_dict(load_file(job.folder / "backbone.safetensors"), strict=True)
        assert multiprocessing.active_children() == []

    def test_stop_after_the_update_that_they_are_told_to(self, tmp_path: Path) -> None:
        job = self.job(tmp_path)

        def stop(values: Mapping[str, Any]) -> None:
            if values.get("done") == 3:
                raise SystemExit

        with pytest.raises(SystemExit):
            job.execute(stop)
        state = read_checkpoint(job.folder / "last.ckpt", "cpu")
        assert state is not None
        assert state["update"] == 3
        assert multiprocessing.active_children() == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
    def test_end_with_whatever_else_the_report_raises(self, tmp_path: Path, error: type[BaseException]) -> None:
        def interrupt(values: Mapping[str, Any]) -> None:
            raise error

        with pytest.raises(error):
            self.job(tmp_path).execute(interrupt)
        assert multiprocessing.active_children() == []

    @pytest.mark.parametrize("rank", [0, 1])
    def test_are_ended_and_named_where_one_is_killed(self, tmp_path: Path, rank: int) -> None:
        job = self.job(tmp_path)

        def kill(values: Mapping[str, Any]) -> None:
            if values.get("done") == 2:
                [victim] = [c for c in multiprocessing.active_children() if c.name.endswith(f"process {rank}")]
                assert victim.pid is not None
                os.kill(victim.pid, signal.SIGKILL)

        with pytest.raises(RunError, match=rf"process {rank} of 2 was killed by SIGKILL \(out of memory\?\), and the "):
            job.execute(kill)
        assert multiprocessing.active_children() == []
        updates: list[int] = []
        job.execute(lambda values: updates.append(values["done"]) if "done" in values else None)
        assert updates[0] in (2, 3)
        assert job.done

    def test_stop_where_one_dies_at_that_very_moment(self, tmp_path: Path) -> None:
        def stop(values: Mapping[str, Any]) -> None:
            if "done" in values:
                for child in multiprocessing.active_children():
                    child.kill()
                    child.join()
                raise SystemExit

        with pytest.raises(SystemExit):
            self.job(tmp_path).execute(stop)

    def test_are_ended_and_named_where_one_dies_in_the_midst_of_an_update(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="process 1 of 2 was killed by SIGKILL"):
            self.job(tmp_path, "dies").execute(lambda values: None)

    def test_are_ended_where_one_fails(self, tmp_path: Path) -> None:
        said = r"process 1 of 2: the pretext task 'stumbles' of .* failed in forward\(\): KeyError: \"a plugin's own"
        with pytest.raises(PluginError, match=said):
            self.job(tmp_path, "stumbles").execute(lambda values: None)

    def test_are_ended_where_a_plugin_takes_more_threads(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="process 1 of 2: a plugin computes in 3 threads where a process has one"):
            self.job(tmp_path, "takes-threads").execute(lambda values: None)

    def test_see_together_that_one_diverges(self, tmp_path: Path) -> None:
        job = self.job(tmp_path, "diverges")
        with pytest.raises(TrainingDivergedError, match=r"^the loss is nan at update 3 of 6, learning rate "):
            job.execute(lambda values: None)

    def test_are_not_started_by_a_daemon(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
        with pytest.raises(RunError, match="the executor runs its jobs in daemonic processes, which may start none"):
            self.job(tmp_path).execute(lambda values: None)

    def test_are_started_by_the_process_that_the_local_executor_gives_the_job(self, tmp_path: Path) -> None:
        job, heard = self.job(tmp_path, epochs=1), Heard()
        Local(Local.Config()).run([job], 2, heard)
        assert heard.words == ["started", "finished"]
        assert job.done


class Heard:
    """Notes what becomes of jobs."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def started(self, job: Any) -> None:
        self.words.append("started")

    def progressed(self, job: Any, values: Mapping[str, Any]) -> None: ...

    def finished(self, job: Any) -> None:
        self.words.append("finished")

    def failed(self, job: Any, reason: str) -> None:
        self.words.append(reason)


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    class Stubborn(RunError):
        def __reduce__(self) -> Any:
            raise TypeError("no")

    assert str(data_parallel._portable(Stubborn("it burns"))) == "it burns"
    assert "ZeroDivisionError: by zero" in str(data_parallel._portable(ZeroDivisionError("by zero")))
