"""Jobs that are carried out where neither the run directory nor the images are, as executors of clusters do."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from studies import prepare_tiny

import sslkit
from sslkit import Job, MovableJob, receive_results
from sslkit.errors import RunError, StorageError
from sslkit.experiment.cell import CellJob
from sslkit.experiment.preparation import Prepared
from sslkit.experiment.pretraining import PretrainingJob


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A study whose jobs are carried out one after another, each in folders of its own."""
    changes: dict[str, Any] = {"evaluation": {"folds": 2, "label_fractions": [1.0], "arms": ["pretrained", "frozen"]}}
    prepared = prepare_tiny(tmp_path_factory.mktemp("here") / "run", **changes)
    for job in prepared.jobs.missing():
        carry_out_elsewhere(job, tmp_path_factory.mktemp("there"))
    return prepared


def carry_out_elsewhere(job: Job, there: Path) -> None:
    """Do what an executor does whose nodes share no disk with it."""
    assert isinstance(job, MovableJob)
    run, cache = there / "run", there / "cache"
    run.mkdir()
    for path in job.reads:
        copy = run / path.relative_to(job.run)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for folder in job.images:
        shutil.copytree(folder, cache / folder.relative_to(job.cache))
    moved = pickle.loads(pickle.dumps(job.moved(run, cache)))
    assert moved.id == job.id
    assert (moved.run, moved.cache) == (run, cache)
    assert moved.folder == run / job.folder.relative_to(job.run)
    came = {path.name for path in job.reads} - {"SHA256SUMS"}
    moved.execute(lambda values: None)
    receive_results(job, {name: content for name, content in contents(moved.folder).items() if name not in came})


def contents(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    return {path.name: np.fromfile(path, np.uint8) for path in folder.iterdir()}


def test_results_are_those_of_jobs_that_never_moved(here: Prepared, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"evaluation": {"folds": 2, "label_fractions": [1.0], "arms": ["pretrained", "frozen"]}}
    stayed = prepare_tiny(tmp_path / "run", **changes)
    for job in stayed.jobs.missing():
        job.execute(lambda values: None)
    assert here.jobs.missing() == []
    for moved, other in zip(here.jobs.cells, stayed.jobs.cells, strict=True):
        assert {name: found.tobytes() for name, found in contents(moved.folder).items()} == {
            name: found.tobytes() for name, found in contents(other.folder).items()
        }
    for one, same in zip(here.jobs.pretrainings, stayed.jobs.pretrainings, strict=True):
        for name in ("backbone.safetensors", "features.npy", "features.json", "config.json"):
            assert (one.folder / name).read_bytes() == (same.folder / name).read_bytes()
        assert sorted(path.name for path in one.folder.iterdir()) == sorted(path.name for path in same.folder.iterdir())


@pytest.fixture
def cell(here: Prepared, tmp_path: Path) -> Iterator[CellJob]:
    """A cell whose results are to come, and those results beside it."""
    cell = here.jobs.cells[0]
    shutil.copytree(cell.folder, tmp_path / "results")
    shutil.rmtree(cell.folder)
    yield cell
    receive_results(cell, contents(tmp_path / "results"))
    assert cell.done


def parts_of(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_file_that_was_damaged_on_its_way_stays_out(cell: CellJob, tmp_path: Path) -> None:
    files = contents(tmp_path / "results")
    files["result.json"] = files["result.json"][:-1]
    with pytest.raises(RunError, match=r"damaged on their way here: result\.json does not fit its checksum"):
        receive_results(cell, files)
    assert not cell.folder.exists()
    assert parts_of(cell.folder.parent) == []


def test_a_cell_that_was_stopped_leaves_nothing(cell: CellJob) -> None:
    receive_results(cell, {})
    assert not cell.folder.exists()
    assert parts_of(cell.folder.parent) == []


def test_results_take_the_place_of_damaged_ones(cell: CellJob, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "results", cell.folder)
    (cell.folder / "result.json").write_text("{}")
    receive_results(cell, contents(tmp_path / "results"))
    assert cell.done


def test_results_of_a_run_that_is_gone_are_refused(cell: CellJob, tmp_path: Path) -> None:
    away = tmp_path / "away"
    cell.run.rename(away)
    try:
        with pytest.raises(StorageError, match=r"was taken away or replaced while the run was under way"):
            cell.adopt(tmp_path / "results")
        shutil.rmtree(cell.run, ignore_errors=True)
        with pytest.raises(StorageError, match=r"was taken away while the run was under way"):
            receive_results(cell, contents(tmp_path / "results"))
        assert not cell.run.exists()
    finally:
        shutil.rmtree(cell.run, ignore_errors=True)
        away.rename(cell.run)


def test_a_disk_that_is_full_is_told_of(cell: CellJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __array__(self) -> None: ...

        def tofile(self, file: Any) -> None:
            raise OSError(28, "No space left on device")

    full: Mapping[str, Any] = {"result.json": Full()}
    with pytest.raises(StorageError, match=r"No space left on device; free some space"):
        receive_results(cell, full)


def test_names_lead_nowhere_else(cell: CellJob) -> None:
    receive_results(cell, {"../../stranger": np.zeros(1, np.uint8)})
    assert not (cell.run / "stranger").exists()
    assert not (cell.run / "cells" / "stranger").exists()


def test_a_pretraining_that_was_stopped_goes_on_elsewhere(tmp_path: Path) -> None:
    one: PretrainingJob = prepare_tiny(tmp_path / "run").jobs.pretrainings[0]
    assert one.reads == ()

    def stop(values: Mapping[str, Any]) -> None:
        if values.get("done") == 3:
            raise SystemExit

    (tmp_path / "first").mkdir()
    first = one.moved(tmp_path / "first", one.cache)
    with pytest.raises(SystemExit):
        first.execute(stop)
    receive_results(one, contents(first.folder))
    assert one.reads == (one.folder / "last.ckpt",)
    assert not one.done

    updates: list[int] = []
    second = one.moved(tmp_path / "second", one.cache)
    second.folder.mkdir(parents=True)
    shutil.copyfile(one.reads[0], second.checkpoint)
    second.execute(lambda values: updates.append(values.get("done", 99)))
    receive_results(one, contents(second.folder))
    assert min(updates) == 4
    assert one.done


def test_the_public_names() -> None:
    assert sslkit.receive_results is receive_results
    assert set(sslkit.versions()) == {"sslkit", "torch", "torchvision", "timm", "numpy"}
