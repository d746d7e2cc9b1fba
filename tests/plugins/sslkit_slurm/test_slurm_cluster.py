"""On a real Slurm: one node, two cores, a partition that preempts another; see tests/set_up_slurm.sh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from studies import tiny_tables

from sslkit.config import to_toml

pytestmark = pytest.mark.slow  # a minute or two each: jobs wait for their turn, and each is a Python of its own

_PATIENCE = 400.0
"""Seconds that a run may take on a machine that is busy."""


@pytest.fixture(scope="module", autouse=True)
def _slurm() -> Iterator[None]:
    """A Slurm that answers; skips the tests where there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", os.environ.get("SLURM_CONF", "/tmp/sslkit-slurm/slurm.conf"))
        try:
            asked = subprocess.run(["sinfo", "--noheader", "--format=%P"], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            pytest.skip("there is no Slurm here; bash tests/set_up_slurm.sh brings one up")
        if "urgent" not in asked.stdout:
            pytest.skip("no Slurm with a partition 'urgent' answers; bash tests/set_up_slurm.sh brings one up")
        yield


def write_study(folder: Path, **changes: Any) -> Path:
    evaluation = {"label_fractions": [1.0], "arms": ["pretrained"]}
    # No checkpoint but those of stops: what is gone on with is where a job was stopped.
    compute = {"executor": "slurm", "precision": "fp32", "checkpoint_seconds": 3600.0}
    tables = tiny_tables(**{"evaluation": evaluation, "compute": compute, "executor": {"poll_seconds": 1}, **changes})
    path = folder / "study.toml"
    path.write_text(to_toml(tables))
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two pretrainings of some fifteen seconds, with a cell each."""
    return write_study(tmp_path, pretraining={"epochs": 400})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study by the local executor."""
    folder = tmp_path_factory.mktemp("undisturbed")
    study = write_study(folder, pretraining={"epochs": 400}, executor={})
    study.write_text(study.read_text().replace('executor = "slurm"', 'executor = "local"'))
    run(study, folder / "run")
    return folder / "run"


def begin(study: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sslkit", "run", str(study), "--output", str(output), *options]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(study: Path, output: Path) -> str:
    process = begin(study, output)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, said
    return said


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.2)
    return found


def told(output: Path) -> list[list[dict[str, Any]]]:
    """Return what the jobs that are on the cluster have told, those of the first array in their order."""
    texts = [path.read_text() for path in sorted((output / "slurm").glob("*/*.jsonl"))]
    return [[json.loads(line) for line in text.splitlines() if line.endswith("}")] for text in texts]


def under_way(output: Path) -> bool:
    """Return whether both pretrainings have done some updates."""
    done = [line["told"]["done"] for lines in told(output)[:2] for line in lines[-1:] if "done" in line.get("told", {})]
    return len(done) == 2 and min(done) >= 5


def ledger(output: Path) -> list[str]:
    return list(json.loads((output / "slurm" / "on-the-cluster.json").read_text()))


def states(names: list[str]) -> list[str]:
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    known = dict(line.split("|") for line in asked.stdout.splitlines())
    return [known.get(name, "GONE") for name in names]


def shown(job: str) -> str:
    return subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout


def differing(first: Path, second: Path) -> list[str]:
    """Return the files of results in which two runs differ; times and memory are in others."""
    names = {"predictions.csv", "backbone.safetensors", "model.safetensors", "result.json"}
    files = [path.relative_to(first) for path in first.rglob("*") if path.name in names]
    assert len(files) >= 6
    told = [*files, Path("results.csv"), Path("summary.csv"), Path("splits.json")]
    return [str(path) for path in told if (first / path).read_bytes() != (second / path).read_bytes()]


def test_a_study_goes_through_the_cluster_as_arrays(undisturbed: Path, study: Path, tmp_path: Path) -> None:
    process = begin(study, tmp_path / "run")
    names = wait_for(lambda: (tmp_path / "run" / "slurm" / "on-the-cluster.json").exists() and ledger(tmp_path / "run"))
    array = names[0].partition("_")[0]
    assert names == [f"{array}_0", f"{array}_1"]
    wait_for(lambda: shown(array).count(f"ArrayJobId={array}") == 2)  # one entry as long as none has begun
    assert "Requeue=1" in shown(array)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, said
    assert states(names) == ["COMPLETED", "COMPLETED"]
    assert differing(undisturbed, tmp_path / "run") == []
    assert not (tmp_path / "run" / "slurm").exists()


def test_a_preempted_pretraining_goes_on_from_its_checkpoint(undisturbed: Path, study: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = begin(study, output)
    wait_for(lambda: under_way(output))
    urgent = ["sbatch", "--partition=urgent", "--ntasks=2", f"--output={tmp_path}/urgent", "--wrap=sleep 1"]
    subprocess.run(urgent, check=True, capture_output=True)
    again = wait_for(lambda: [lines for lines in told(output)[:2] if sum("node" in line for line in lines) == 2])
    wait_for(lambda: "told" in told(output)[0][-1])
    for lines in told(output)[:2]:
        places = [place for place, line in enumerate(lines) if "node" in line]
        if len(places) == 2 and places[1] + 1 < len(lines):
            assert lines[places[1] + 1]["told"]["done"] == lines[places[1] - 1]["told"]["done"] + 1
    assert again
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, said
    assert "it was sent back to the queue, preempted or its time up, and runs again on" in said
    assert differing(undisturbed, output) == []


def test_a_killed_process_is_tried_again(undisturbed: Path, study: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = begin(study, output)
    wait_for(lambda: under_way(output))
    os.kill(told(output)[0][0]["process"], signal.SIGKILL)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, said
    assert "was killed by SIGKILL (out of memory?)" in said
    assert differing(undisturbed, output) == []


def test_what_a_user_cancels_has_failed_and_the_same_command_mends_it(
    undisturbed: Path, study: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    process = begin(study, output)
    wait_for(lambda: under_way(output))
    name = ledger(output)[0]
    subprocess.run(["scancel", name], check=True)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert f"it was cancelled as job {name}; the same command begins it again" in " ".join(said.split())
    run(study, output)
    assert differing(undisturbed, output) == []


def test_stopping_the_command_cancels_its_jobs_at_a_safe_point(undisturbed: Path, study: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    process = begin(study, output)
    wait_for(lambda: under_way(output))
    names = ledger(output)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=_PATIENCE)
    assert "The same command goes on from here" in said
    wait_for(lambda: set(states(names)) <= {"CANCELLED"})
    assert len(list(output.glob("pretraining/*/*/last.ckpt"))) == 2
    assert not (output / "slurm").exists()
    run(study, output)
    assert differing(undisturbed, output) == []


def test_jobs_outlive_a_command_that_is_killed_and_the_next_takes_over(
    undisturbed: Path, study: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    process = begin(study, output)
    wait_for(lambda: under_way(output))
    names = ledger(output)
    process.kill()
    process.communicate()
    time.sleep(2)
    assert set(states(names)) == {"RUNNING"}
    said = run(study, output)
    assert "2 jobs of an earlier call are still on the cluster; they are stopped and begun again" in said
    assert states(names) == ["CANCELLED", "CANCELLED"]
    assert differing(undisturbed, output) == []


def test_a_job_whose_time_is_nearly_up_queues_itself_again(undisturbed: Path, tmp_path: Path) -> None:
    # Slurm may send the signal a minute early: of two minutes, jobs have between some seconds and eighty.
    study = write_study(
        tmp_path, pretraining={"epochs": 400}, executor={"poll_seconds": 1, "time": 2, "signal_seconds": 40}
    )
    process = begin(study, tmp_path / "run")
    wait_for(lambda: under_way(tmp_path / "run"))
    for name in ledger(tmp_path / "run"):
        subprocess.run(["scancel", "--signal=USR2", "--batch", name], check=True)  # as Slurm does when time is short
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0, said
    assert "it was sent back to the queue" in said
    assert differing(undisturbed, tmp_path / "run") == []


def test_a_partition_that_is_none_ends_the_run_in_slurm_s_words(study: Path, tmp_path: Path) -> None:
    process = begin(study, tmp_path / "run", "--set", "executor.partition=moon")
    said, _ = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert "Slurm does not take the jobs" in said
    assert "invalid partition" in said
    assert "Traceback" not in said
