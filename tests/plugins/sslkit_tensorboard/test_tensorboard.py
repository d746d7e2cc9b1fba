from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from observed import Points, expected
from studies import observed_config, tiny_config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import sslkit
import sslkit_tensorboard
from sslkit.checksums import flaws
from sslkit.config import RunConfig
from sslkit.errors import PluginError, StorageError
from sslkit.experiment.running import RunResult, execute_run

CONFIG = {"pretext": [{"name": "rotation"}]}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    sslkit_tensorboard._close()


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text('name = "tiny"\n')
    return tmp_path


def read(root: Path) -> EventAccumulator:
    events = EventAccumulator(str(root / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    return events.Reload()


def points_of(events: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def in_float32(points: Points) -> dict[str, list[tuple[int, float]]]:
    return {tag: [(step, float(np.float32(value))) for step, value in steps.items()] for tag, steps in points.items()}


def again(config: RunConfig, root: Path) -> RunResult:
    """Call a run again, without its report, which takes most of the time then."""
    return execute_run(config, root, sslkit.build_registry())


def final(logged: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    return {tag: sorted(steps) for tag, steps in logged.items() if not tag.startswith("preliminary/")}


def text_of(events: EventAccumulator, name: str) -> str:
    (event,) = events.Tensors(f"{name}/text_summary")
    return str(event.tensor_proto.string_val[0].decode())


def test_every_figure_of_the_run_is_logged_once_and_nothing_else(observed_run: RunResult) -> None:
    root = observed_run.directory.root
    logged = points_of(read(root))
    assert final(logged) == {tag: sorted(steps) for tag, steps in in_float32(expected(root)).items()}
    assert {"pretraining/rotation/0/loss", "qwk_mean/scratch", "delta/rotation-pretrained"} <= logged.keys()
    # What a cell scored on its own does not depend on what is fitted across folds: as many points as in the end.
    assert len(logged["preliminary/scratch/qwk/fold-0-repetition-0"]) == 2
    assert {tag.replace("preliminary", "cells", 1) for tag in logged if tag.startswith("preliminary/")} <= logged.keys()


def test_configuration_and_conclusions_stand_as_text(observed_run: RunResult) -> None:
    events = read(observed_run.directory.root)
    assert observed_run.directory.config.read_text() in text_of(events, "configuration")
    conclusions = text_of(events, "conclusions")
    assert all(f"- {sentence}" in conclusions for sentence in (*observed_run.notices, *observed_run.conclusions))


def test_a_run_that_was_not_observed_is_caught_up_with_and_nothing_is_doubled(
    tiny_run: RunResult, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(tiny_run.directory.root, root)
    for _ in range(2):
        again(tiny_config(observers=["tensorboard"]), root)
        assert final(points_of(read(root))) == {tag: sorted(steps) for tag, steps in in_float32(expected(root)).items()}
    assert len(list((root / "tensorboard").iterdir())) == 1
    shutil.rmtree(root / "tensorboard")
    assert flaws(root) == []
    again(tiny_config(), root)
    sessions = json.loads((root / "run.json").read_text())["sessions"]
    assert [(session["jobs"], session["warnings"]) for session in sessions[1:]] == [(0, [])] * 3
    assert not (root / "tensorboard").exists()


def test_what_was_logged_is_on_the_disk_at_once(run_directory: Path) -> None:
    sslkit_tensorboard.sslkit_run_started(run_directory, CONFIG, [], [])
    sslkit_tensorboard.sslkit_epoch_finished("pretraining/rotation/0", 3, {"loss": 0.5, "top-5 (%)": 2.0})
    logged = {"pretraining/rotation/0/loss": [(3, 0.5)], "pretraining/rotation/0/top-5____": [(3, 2.0)]}
    assert points_of(read(run_directory)) == logged


def test_epochs_that_are_told_again_after_a_checkpoint_stand_once(run_directory: Path) -> None:
    epochs = [{"job": "pretraining/rotation/0", "epoch": epoch, "metrics": {"loss": 1 / epoch}} for epoch in (1, 2)]
    sslkit_tensorboard.sslkit_run_started(run_directory, CONFIG, epochs, [])
    sslkit_tensorboard.sslkit_epoch_finished("pretraining/rotation/0", 2, {"loss": 0.5})
    sslkit_tensorboard.sslkit_epoch_finished("pretraining/rotation/0", 4, {"loss": 0.25})
    assert points_of(read(run_directory)) == {"pretraining/rotation/0/loss": [(1, 1.0), (2, 0.5), (4, 0.25)]}


def test_a_board_that_fails_is_given_up_until_the_next_call(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    sslkit_tensorboard.sslkit_run_started(run_directory, CONFIG, [], [])
    with monkeypatch.context() as patch:
        patch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", fail)
        with pytest.raises(OSError, match="disk full"):
            sslkit_tensorboard.sslkit_epoch_finished("a", 1, {"loss": 1.0})
    sslkit_tensorboard.sslkit_epoch_finished("a", 2, {"loss": 1.0})
    assert points_of(read(run_directory)) == {}
    sslkit_tensorboard.sslkit_run_started(run_directory, CONFIG, [], [])
    sslkit_tensorboard.sslkit_epoch_finished("a", 2, {"loss": 1.0})
    assert points_of(read(run_directory)) == {"a/loss": [(2, 1.0)]}


def test_event_files_behind_a_link_are_left_alone(
    run_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "events.out.tfevents.1"
    elsewhere.touch()
    (run_directory / "tensorboard").symlink_to(elsewhere.parent)
    with pytest.raises(StorageError, match="tensorboard is a link, and event files are removed there; put a folder"):
        sslkit_tensorboard.sslkit_run_started(run_directory, CONFIG, [], [])
    assert elsewhere.exists()


@pytest.mark.parametrize("found", [None, SimpleNamespace(origin=None)], ids=["nothing", "a folder of that name"])
def test_without_its_package_it_says_what_to_install(found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sslkit_tensorboard.sslkit_on_request() is None
    monkeypatch.setattr(sslkit_tensorboard, "find_spec", lambda name: found)
    (told,) = [told for told in sslkit.build_registry().observers if told.name == "tensorboard"]
    assert told.lacks == "pip install 'sslkit[tensorboard]'"
    sslkit.plan(tiny_config())
    with pytest.raises(PluginError, match=r"'tensorboard' of sslkit .* cannot work yet: pip install 'sslk"):
        sslkit.plan(observed_config())
