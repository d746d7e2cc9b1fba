"""What becomes of a run, and of its processes, when it is told to stop, or its first process is killed."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from studies import tiny_config

from sslkit.config import to_toml
from sslkit.experiment.checkpoint import read_checkpoint

ENDLESS: dict[str, dict[str, Any]] = {
    "ingest": {"dataset": {"patients": 4000, "size": 512}},
    "pretraining": {"pretraining": {"epochs": 100_000}},
    "cells": {"evaluation": {"arms": ["scratch"]}, "finetuning": {"updates": 100_000, "evaluations": 1}},
}
"""Studies that stay at one stage for as long as a test may take."""


@contextmanager
def begun(stage: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Begin a run that stays at a stage, and wait until it is there."""
    config = folder / "study.toml"
    study = tiny_config(**{"compute": {"precision": "fp32", "workers": 2}, **ENDLESS[stage]})
    config.write_text(to_toml(study.model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "sslkit", "run", "study.toml", "--output", "run", "--set", "name=told to stop"]
    environment = {**os.environ, "SSLKIT_CACHE": str(folder / "cache")}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            wait_for(lambda: at(stage, folder))
            yield process
        finally:
            if processes_of(process):
                os.killpg(process.pid, signal.SIGKILL)


def at(stage: str, folder: Path) -> bool:
    match stage:
        case "ingest":
            return any(folder.glob("cache/images/*/.*.part/headers.npy"))
        case "pretraining":
            return len(list(folder.glob("run/pretraining/rotation/*/metrics.jsonl"))) == 2
        case _:
            # The cells have nothing on disk before they are done; they run once the splits stand, for minutes.
            if not (folder / "run" / "run.json").exists():
                return False
            time.sleep(5)
            return True


def wait_for(condition: Any, seconds: float = 120) -> float:
    """Return how long it took until a condition held."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not come to pass"
        time.sleep(0.05)
    return time.monotonic() - started


def processes_of(process: subprocess.Popen[str]) -> bool:
    """Return whether any process of the run's group is alive."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("stage", ENDLESS)
@pytest.mark.parametrize(
    ("number", "status", "to"),
    [
        (signal.SIGINT, 130, "group"),
        (signal.SIGTERM, 143, "first"),
        pytest.param(signal.SIGHUP, 129, "group", marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, "first", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, "group", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_told_to_stop_does_so_and_says_how_to_go_on(
    tmp_path: Path, stage: str, number: signal.Signals, status: int, to: str
) -> None:
    """A terminal tells every process of the group, a batch system as often the first alone."""
    with begun(stage, tmp_path) as process:
        os.kill(process.pid, number) if to == "first" else os.killpg(process.pid, number)
        _, told = process.communicate(timeout=60)
        wait_for(lambda: not processes_of(process), 30)

        assert process.returncode == status
        command = shlex.join(["sslkit", "run", "study.toml", "--output", "run", "--set", "name=told to stop"])
        assert told.rstrip().endswith(
            f"every job that is done is kept. The same command goes on from here:\n  {command}"
        )
        assert "Stopping at a safe point ..." in told
        assert "Traceback" not in told
        assert [str(path) for path in tmp_path.rglob("*.part*")] == []
        if stage == "pretraining":
            for fold in "01":
                state = read_checkpoint(tmp_path / "run" / "pretraining" / "rotation" / fold / "last.ckpt", "cpu")
                assert state is not None
                assert state["update"] >= 2  # an epoch, after which it was told


@pytest.mark.parametrize("stage", ENDLESS)
def test_no_process_outlives_a_run_whose_first_process_is_killed(tmp_path: Path, stage: str) -> None:
    with begun(stage, tmp_path) as process:
        process.kill()
        process.wait()
        wait_for(lambda: not processes_of(process), 60)  # the server may still be loading torch
