from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from heard import Heard
from jobs import Fail, Note, Steps
from studies import tiny_config

import sslkit
from sslkit import Job
from sslkit.experiment.running import RunResult
from sslkit_slurm import Slurm, SlurmConfig, sslkit_executors


def run(jobs: Sequence[Job], folder: Path, cluster: str = "local", workers: int = 2) -> Heard:
    heard = Heard()
    options: dict[str, Any] = {"cluster": cluster, "folder": folder}
    Slurm(SlurmConfig(**options)).run(jobs, workers, heard)
    return heard


def test_the_hook_returns_the_class() -> None:
    assert list(sslkit_executors()) == [Slurm]
    assert Slurm.name == "slurm"


def test_without_jobs_nothing_happens(tmp_path: Path) -> None:
    assert run([], tmp_path / "slurm").events == []
    assert not (tmp_path / "slurm").exists()


def test_jobs_run_in_processes_of_their_own_and_a_failure_is_told_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs: list[Job] = [Steps("steps", log, seconds=0.0), Fail("bad", "raise"), Note("needy", log, ("bad",))]
    heard = run(jobs, tmp_path / "slurm", workers=3)
    assert heard.all("finished") == {"steps"}
    assert heard.progress["steps"] == [{"done": done, "total": 5} for done in range(1, 6)]
    assert heard.reasons["needy"] == "not run: it needs bad, which failed"
    (kept,) = (tmp_path / "slurm").glob("*/*.err")  # of the one that failed
    assert heard.reasons["bad"].endswith(f'KeyError: "a plugin\'s own mistake"\nIts log is {kept}')
    assert {path.suffix for path in kept.parent.iterdir()} == {".err", ".out"}


def test_debugging_stays_in_this_process(tmp_path: Path) -> None:
    class Here(Note):
        def execute(self, report: sslkit.Reporter) -> None:
            report({"process": os.getpid(), "node": platform.node()})

    heard = run([Here("here", tmp_path / "log"), Fail("bad", "diverge")], tmp_path / "slurm", "debug")
    assert heard.progress == {
        "here": [{"process": os.getpid(), "node": platform.node()}],
        "bad": [{"about to": "diverge"}],
    }
    assert heard.reasons["bad"] == "the loss is nan at update 3; lower the learning rate"
    assert not (tmp_path / "slurm").exists()


def test_a_run_is_that_of_the_local_executor_byte_by_byte(tiny_run: RunResult, tmp_path: Path) -> None:
    config = tiny_config(compute={"precision": "fp32", "executor": "slurm"}, executor={"cluster": "debug"})
    result = sslkit.run(config, tmp_path / "run")
    assert result.failures == []
    assert compared(tiny_run.directory.root, result.directory.root) == []
    assert not (result.directory.root / "slurm").exists()  # nothing is left of what went well


def compared(first: Path, second: Path) -> list[str]:
    """Return the files of results in which two runs differ; times and memory are in others."""
    names = {"predictions.csv", "backbone.safetensors", "model.safetensors", "result.json", "features.npz"}
    files = [path.relative_to(first) for path in first.rglob("*") if path.name in names]
    assert len(files) > 30
    told = [*files, Path("results.csv"), Path("summary.csv"), Path("splits.json")]
    return [str(path) for path in told if (first / path).read_bytes() != (second / path).read_bytes()]


@pytest.mark.slow  # twenty jobs, each a Python of its own: a minute
def test_so_it_is_in_processes_of_their_own(tiny_run: RunResult, tmp_path: Path) -> None:
    config = tiny_config(compute={"precision": "fp32", "executor": "slurm"}, executor={"cluster": "local"})
    result = sslkit.run(config, tmp_path / "run")
    assert compared(tiny_run.directory.root, result.directory.root) == []
