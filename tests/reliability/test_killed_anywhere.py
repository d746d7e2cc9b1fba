"""A run that is killed at any point, and gone on with by the same command, ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from studies import tiny_config

import sslkit
from sslkit.config import to_toml

KILLED_RUN = Path(__file__).with_name("killed_run.py")

POINTS = [
    *(("ingest", count, delay) for count, delay in ((1, 0), (1, 0.05), (2, 0), (2, 0.03), (3, 0))),
    *(("update", count, delay) for count, delay in ((1, 0), (3, 0.01), (4, 0.03), (6, 0), (7, 0.02), (9, 0.04))),
    *(("update", count, delay) for count, delay in ((11, 0.01), (14, 0.2), (20, 0), (35, 0.03), (60, 0.01), (80, 0))),
    *(("job", count, delay) for count, delay in ((1, 0), (2, 0), (3, 0.1), (4, 0.02), (6, 0), (9, 0.05), (13, 0.01))),
    *(("fit", count, 0) for count in (1, 3)),
    *(("report", count, 0) for count in (1, 2, 5, 9)),
]
"""Stage, how many times it has been passed, and seconds until the kill."""

COMPARED = (
    *("results.csv", "summary.csv", "splits.json", "audit.json", "cells/*/*", "pictures/*"),
    *("pretraining/*/*/backbone.safetensors", "pretraining/*/*/config.json", "pretraining/*/*/features.npy"),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with every kind of job, a checkpoint at every update, and fitting across folds."""
    path = tmp_path_factory.mktemp("config") / "study.toml"
    study = tiny_config(
        head={"name": "dr-grade", "encoding": "regression", "cut_points": "cross-fitted"},
        evaluation={"arms": ["pretrained", "scratch", "frozen"]},
        compute={"precision": "fp32", "workers": 2, "checkpoint_seconds": 0},
    )
    path.write_text(to_toml(study.model_dump(mode="json", exclude_none=True)))
    return path


@pytest.fixture(scope="module")
def uninterrupted(config: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(sslkit.run(config, tmp_path_factory.mktemp("runs") / "whole").directory.root)


def contents(root: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(root)): path.read_bytes() for name in COMPARED for path in sorted(root.glob(name))}
    assert len([name for name in found if name.endswith("backbone.safetensors")]) == 2
    return found


def kill(config: Path, output: Path, stage: str, count: int, delay: float, environment: dict[str, str]) -> None:
    command = [sys.executable, str(KILLED_RUN), str(config), str(output), stage, str(count), str(delay)]
    done = subprocess.run(command, env=environment, start_new_session=True, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr


def go_on(config: Path, output: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "sslkit", "run", str(config), "--output", str(output)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


def check(config: Path, root: Path, points: list[tuple[str, int, float]], whole: dict[str, bytes]) -> None:
    environment = {**os.environ, "SSLKIT_CACHE": str(root / "cache")}
    for point in points:
        kill(config, root / "run", *point, environment)
    go_on(config, root / "run", environment)
    assert contents(root / "run") == whole
    assert [str(path) for path in root.rglob("*") if path.name.endswith((".part", ".next"))] == []
    assert len(list((root / "cache" / "images").glob("*/*"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "count", "delay"), POINTS)
def test_killed_at_any_point(
    config: Path, tmp_path: Path, uninterrupted: dict[str, bytes], stage: str, count: int, delay: float
) -> None:
    check(config, tmp_path, [(stage, count, delay)], uninterrupted)


def test_killed_at_one_point_after_another(config: Path, tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    points = [("ingest", 1, 0.02), ("update", 4, 0.01), ("job", 3, 0.02), ("fit", 1, 0), ("report", 2, 0)]
    check(config, tmp_path, points, uninterrupted)


def test_there_are_thirty_points() -> None:
    assert len(set(POINTS)) == 30
