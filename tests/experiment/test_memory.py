from __future__ import annotations

import json
from pathlib import Path

import pytest
from studies import tiny_config

import sslkit
from sslkit.engine.precision import Compute
from sslkit.experiment import memory
from sslkit.experiment.environment import num_workers
from sslkit.experiment.memory import peak_of_logs, workers_that_fit
from sslkit.experiment.running import RunResult

CPU = Compute("cpu", "fp32")


@pytest.fixture
def four_cores_and_24_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 24 * 10**9)
    monkeypatch.setattr("sslkit.experiment.environment.available_cores", lambda: 4)


@pytest.mark.usefixtures("four_cores_and_24_gb")
def test_as_many_jobs_run_at_a_time_as_there_is_memory_for() -> None:
    fitting, why = workers_that_fit("auto", CPU, 9 * 10**9)
    assert fitting == 2
    assert why.startswith("2 of 4 jobs at a time: 24.0 GB of memory are free, and a pretraining of this configuration")
    assert "has taken 9.0 GB; compute.workers=4" in why
    assert workers_that_fit("auto", CPU, 10**12)[0] == 1


@pytest.mark.usefixtures("four_cores_and_24_gb")
@pytest.mark.parametrize(
    ("asked", "compute", "peak", "expected"),
    [
        ("auto", CPU, 5 * 10**9, 4),
        ("auto", CPU, None, 4),
        (7, CPU, 20 * 10**9, 7),
        ("auto", Compute("mps", "fp32"), 20 * 10**9, 1),
    ],
    ids=["there is room", "nothing is known", "asked for", "not on the processor"],
)
def test_otherwise_nothing_is_changed(asked: int, compute: Compute, peak: int | None, expected: int) -> None:
    assert workers_that_fit(asked, compute, peak) == (expected, "")


def test_where_the_system_does_not_tell_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 0)
    assert workers_that_fit("auto", CPU, 10**15) == (num_workers("auto", CPU), "")


@pytest.mark.skipif(not Path("/proc/self/cgroup").exists(), reason="a control group is Linux's")
@pytest.mark.parametrize(
    ("most", "free"), [("1000", 900), ("400", 300), ("250", 150), ("100", 1), ("nonsense", 0)], ids=str
)
def test_files_that_were_read_do_not_count_against_a_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, free: int
) -> None:
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tmp_path)
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.stat").write_text("anon 90\ninactive_file 200\nactive_file 100\n")
    assert memory.free_memory() == free


def test_without_a_control_group_the_system_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CONTROL_GROUPS", tmp_path)
    assert memory.free_memory() > 10**6


def test_logs_tell_the_highest_peak_and_damaged_ones_nothing(tmp_path: Path) -> None:
    assert peak_of_logs([tmp_path / "none"]) is None
    (tmp_path / "damaged").write_text("{")
    (tmp_path / "older").write_text('{"epoch": 1}\n')
    (tmp_path / "good").write_text("".join(json.dumps({"peak_memory": peak}) + "\n" for peak in (5, 9, 7)))
    assert peak_of_logs(tmp_path / name for name in ("damaged", "older", "good", "none")) == 9


def test_a_run_with_too_little_memory_says_so_before_it_begins(
    tiny_run: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    monkeypatch.setattr("sslkit.experiment.environment.available_cores", lambda: 3)

    plan = sslkit.plan(tiny_config(), tiny_run.directory.root)

    assert plan.workers == 1
    assert plan.too_large.startswith("1 of 3 jobs at a time")


def test_a_run_keeps_to_what_fits_and_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(evaluation={"arms": ["pretrained"], "label_fractions": [1.0]}, name="short of memory")
    sslkit.bench(config, seconds=0.1)
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    monkeypatch.setattr("sslkit.experiment.environment.available_cores", lambda: 2)
    planned: list[int] = []

    class Watch(sslkit.experiment.observation.Silent):
        def jobs_planned(self, plan: sslkit.PlannedJobs) -> None:
            planned.append(plan.workers)

    sslkit.run(config, tmp_path / "run", observer=Watch())

    assert planned == [1]
    (session,) = json.loads((tmp_path / "run" / "run.json").read_text())["sessions"]
    assert any("1 of 2 jobs at a time" in warning for warning in session["warnings"])


def test_a_large_batch_is_tried_alone_before_several_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslkit.experiment.bench._MANY_PIXELS", 100)
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    monkeypatch.setattr("sslkit.experiment.environment.available_cores", lambda: 2)
    arms = {"arms": ["pretrained"], "label_fractions": [1.0]}

    bench = sslkit.bench(tiny_config(evaluation=arms, name="large batch", seed=9), seconds=0.1)

    assert bench.estimate["workers"] == 1
    assert bench.pretraining["peak_memory"] > 10**8
