"""The same seed on the same machine gives the same bytes, whoever computes them, when, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from studies import tiny_config

import sslkit
from sslkit import Job
from sslkit.experiment.running import RunResult
from sslkit.interfaces import job_queue

SAME = (
    *("results.csv", "summary.csv", "splits.json", "audit.json", "cells/*/*", "pictures/*"),
    *("pretraining/*/*/backbone.safetensors", "pretraining/*/*/config.json", "pretraining/*/*/features.npy"),
)
"""All that holds no times."""


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for name in SAME for path in sorted(root.glob(name))}


def run(root: Path, **changes: Any) -> dict[str, bytes]:
    return contents(sslkit.run(tiny_config(**changes), root).directory.root)


def test_with_one_worker_as_with_two(tiny_run: RunResult, tmp_path: Path) -> None:
    whole = contents(tiny_run.directory.root)
    assert len(whole) > 16 * 3
    for workers in (1, 2):
        assert run(tmp_path / str(workers), compute={"precision": "fp32", "workers": workers}) == whole


def test_with_the_jobs_in_reverse(tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def last_to_first(jobs: Sequence[Job]) -> list[Job]:
        return list(reversed(jobs))

    monkeypatch.setattr(job_queue, "longest_first", last_to_first)
    assert run(tmp_path / "run") == contents(tiny_run.directory.root)


@pytest.mark.parametrize("workers", [1, 2])
def test_with_a_cold_cache_as_with_a_warm_one(tiny_run: RunResult, tmp_path: Path, workers: int) -> None:
    changes = {
        "images": {"size": 32, "crop": "fundus", "cache": str(tmp_path / "cache")},
        "compute": {"precision": "fp32", "workers": workers},
    }
    assert run(tmp_path / "run", **changes) == contents(tiny_run.directory.root)


def test_the_smallest_shares_first_and_the_rest_later(tiny_run: RunResult, tmp_path: Path) -> None:
    evaluation = tiny_config().evaluation.model_dump()
    run(tmp_path / "run", evaluation={**evaluation, "label_fractions": [0.3], "arms": ["scratch", "frozen"]})
    extended, whole = run(tmp_path / "run"), contents(tiny_run.directory.root)
    # The models of the smaller share, which was the largest then, are kept.
    assert {name for name in extended if name not in whole} == {
        name for name in extended if name.endswith("model.safetensors") and name not in whole
    }
    assert {name: extended[name] for name in whole if not name.endswith("SHA256SUMS")} == {
        name: content for name, content in whole.items() if not name.endswith("SHA256SUMS")
    }
