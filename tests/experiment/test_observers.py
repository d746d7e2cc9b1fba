"""Who follows a run hears of the plan and of scores if there is a method for them, and need have none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from studies import tiny_config

import sslkit
from sslkit import PlannedJobs
from sslkit.experiment.bench import job_seconds, measure_run
from sslkit.experiment.observation import PlanObserver, ScoreObserver, Silent
from sslkit.experiment.study import resolve
from sslkit.registry import build_registry
from sslkit_local import Local


class Attentive(Silent):
    """Takes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.plans: list[PlannedJobs] = []
        self.rows: list[Mapping[str, Any]] = []

    def jobs_planned(self, plan: PlannedJobs) -> None:
        self.heard.append("planned")
        self.plans.append(plan)

    def stage(self, name: str, total: int) -> None:
        self.heard.append(name)

    def cell_scored(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


def test_an_observer_of_old_needs_no_more_methods() -> None:
    assert not isinstance(Silent(), PlanObserver)
    assert not isinstance(Silent(), ScoreObserver)
    assert isinstance(Attentive(), PlanObserver)
    assert isinstance(Attentive(), ScoreObserver)


def test_the_plan_is_told_before_the_jobs_and_scores_as_they_come(tmp_path: Path) -> None:
    evaluation = {"label_fractions": [1.0], "arms": ["scratch"]}
    config = tiny_config(evaluation=evaluation, compute={"workers": 2})
    first, second = Attentive(), Attentive()
    result = sslkit.run(config, tmp_path / "run", observer=first)
    assert first.heard == ["ingest", "planned", "jobs"]
    (plan,) = first.plans
    assert (len(plan.jobs), list(plan.done), plan.workers, plan.metric, plan.seconds) == (2, [], 2, "qwk", {})
    assert sorted(row["fold"] for row in first.rows) == [0, 1]
    for row in first.rows:
        (kept,) = result.results.where(cell=row["cell"])
        assert {key: kept[key] for key in ("arm", "fraction", "fold", "labels")} == {
            key: row[key] for key in ("arm", "fraction", "fold", "labels")
        }
    sslkit.run(config, tmp_path / "run", observer=second)
    (plan,) = second.plans
    assert (list(plan.jobs), second.rows) == ([], [])
    assert list(plan.done) == result.results


def test_what_a_bench_has_measured_is_told_of_each_job(tmp_path: Path) -> None:
    config = tiny_config(evaluation={"label_fractions": [1.0], "arms": ["pretrained", "frozen"]}, name="measured")
    registry = build_registry()
    study = resolve(config, registry)
    compute = study.resolve_compute()
    bench = measure_run(config, registry, seconds=0.1)
    observer = Attentive()
    sslkit.run(config, tmp_path / "run", observer=observer)
    (plan,) = observer.plans
    assert plan.seconds == job_seconds(study, compute, plan.jobs)
    assert plan.seconds.keys() == {job.id for job in plan.jobs}
    total = sum(plan.seconds.values())
    hours = bench.estimate["jobs_hours"]
    assert hours * 3600 <= total <= hours * 3600 * bench.estimate["workers"] * 1.001


@pytest.mark.parametrize(("asked", "workers"), [("auto", 1), (2, 2)])
def test_an_executor_says_how_many_jobs_there_is_room_for_where_it_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int | str, workers: int
) -> None:
    devices: list[str] = []

    def one(executor: Local, device: str) -> int:
        devices.append(device)
        return 1

    monkeypatch.setattr(Local, "default_workers", one)
    attentive = Attentive()
    evaluation = {"label_fractions": [1.0], "arms": ["knn"]}
    config = tiny_config(evaluation=evaluation, compute={"workers": asked, "device": "cpu"})
    sslkit.run(config, tmp_path / "run", observer=attentive)
    assert [plan.workers for plan in attentive.plans] == [workers]
    assert devices == (["cpu"] if asked == "auto" else [])
    sslkit.run(config, tmp_path / "run")  # where there is nothing to do, nobody is asked
    assert len(devices) <= 1
