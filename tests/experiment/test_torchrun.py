"""A run by the processes of torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from heard import Heard
from studies import prepare_tiny, tiny_config
from torch import distributed

import sslkit
from sslkit import api
from sslkit.config import to_toml
from sslkit.errors import ConfigError, RunError
from sslkit.experiment.checkpoint import read_checkpoint
from sslkit.experiment.crew import Crew
from sslkit.torchrun import Launch, follows, launch

LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
STUDY: dict[str, Any] = {
    "pretraining": {"epochs": 2, "batch_size": 16},
    "evaluation": {"arms": ["pretrained", "scratch"], "label_fractions": [1.0]},
    "compute": {"precision": "fp32", "checkpoint_seconds": 0},
}

SCRIPT = """
import os, pathlib
import sslkit

if __name__ == "__main__":
    result = sslkit.run("study.toml", "run")
    pathlib.Path(f"rank{os.environ['RANK']}.txt").write_text(str(len(result.results)))
"""


def write_study(folder: Path, **changes: Any) -> None:
    tables = {key: {**STUDY.get(key, {}), **changes.get(key, {})} for key in (*STUDY, *changes)}
    study = tiny_config(**tables)
    (folder / "study.toml").write_text(to_toml(study.model_dump(mode="json", exclude_none=True)))


@contextmanager
def launched(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a command by torchrun, in a session of its own."""
    process = subprocess.Popen(
        [*LAUNCHER, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if alive(process):
                os.killpg(process.pid, signal.SIGKILL)


def alive(process: subprocess.Popen[str]) -> bool:
    """Return whether anything of a session is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Any, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def log_of(folder: Path, fold: int = 0) -> list[dict[str, Any]]:
    text = (folder / "run" / "pretraining" / "rotation" / str(fold) / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_is_carried_out_by_all_and_told_of_once(tmp_path: Path) -> None:
    write_study(tmp_path)
    with launched(tmp_path, "-m", "sslkit", "run", "study.toml", "--output", "run") as process:
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert out.count("Report:") == 1
    assert err.count("Pretraining and fine-tuning") == 1
    assert [line["processes"] for fold in range(2) for line in log_of(tmp_path, fold)] == [2] * 4
    assert len(sslkit.open_run(tmp_path / "run").results) == 4
    # The same command finds everything done; so does one without torchrun, whose pretrainings are the same.
    assert sslkit.run(tmp_path / "study.toml", tmp_path / "run").failures == []
    sessions = json.loads((tmp_path / "run" / "run.json").read_text())["sessions"]
    assert [session["jobs"] for session in sessions] == [6, 0]


@pytest.mark.slow
def test_in_a_script_every_process_has_the_result(tmp_path: Path) -> None:
    write_study(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    with launched(tmp_path, "script.py") as process:
        _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert [(tmp_path / f"rank{rank}.txt").read_text() for rank in range(2)] == ["4", "4"]


@pytest.mark.slow
def test_a_configuration_that_is_wrong_is_told_of_once(tmp_path: Path) -> None:
    write_study(tmp_path, pretraining={"batch_size": 20})
    with launched(tmp_path, "-m", "sslkit", "run", "study.toml", "--output", "run") as process:
        _, err = process.communicate(timeout=240)
    assert process.returncode != 0
    assert err.count("Error: pretraining.batch_size: a batch of 20 images is not dealt evenly to 2 processes") == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_goes_on_where_it_was(tmp_path: Path, number: signal.Signals) -> None:
    write_study(tmp_path, pretraining={"epochs": 100_000}, compute={"checkpoint_seconds": 1000})
    folder = tmp_path / "run" / "pretraining" / "rotation" / "0"
    with launched(tmp_path, "-m", "sslkit", "run", "study.toml", "--output", "run") as process:
        wait_for(lambda: (folder / "metrics.jsonl").exists() and len(log_of(tmp_path)) > 3)
        os.killpg(process.pid, number)
        started = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - started < 25
        wait_for(lambda: not alive(process), 10)
    assert err.count("Interrupted; every job that is done is kept.") == 1
    state = read_checkpoint(folder / "last.ckpt", "cpu")
    assert state is not None
    assert state["update"] >= log_of(tmp_path)[-1]["update"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_others(tmp_path: Path, rank: int) -> None:
    write_study(tmp_path, pretraining={"epochs": 100_000})
    (tmp_path / "script.py").write_text(
        "import os, pathlib\npathlib.Path(f\"pid{os.environ['RANK']}\").write_text(str(os.getpid()))\n" + SCRIPT
    )
    folder = tmp_path / "run" / "pretraining" / "rotation" / "0"
    with launched(tmp_path, "script.py") as process:
        wait_for(lambda: (folder / "metrics.jsonl").exists() and len(log_of(tmp_path)) > 3)
        os.kill(int((tmp_path / f"pid{rank}").read_text()), signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode != 0
        wait_for(lambda: not alive(process), 10)
    assert read_checkpoint(folder / "last.ckpt", "cpu") is not None


class TestWithoutTorchrun:
    """What becomes of processes whose torchrun was killed, and its store with it."""

    @pytest.fixture
    def crew(self, monkeypatch: pytest.MonkeyPatch) -> Crew:
        class Gone:
            def __getattr__(self, name: str) -> Any:
                def call(*arguments: Any) -> Any:
                    raise distributed.DistNetworkError("Connection reset by peer")

                return call

        monkeypatch.setattr("sslkit.experiment.crew.rendezvous", lambda *given, **options: iter([(Gone(), 0, 2)]))
        return Crew(Launch(0, 2, 0, 2))

    def test_what_is_finished_is_no_failure(self, crew: Crew, tmp_path: Path) -> None:
        crew.dismiss(tmp_path)

    def test_a_follower_says_so(self, crew: Crew) -> None:
        with pytest.raises(RunError, match=r"process 0 lost torchrun: Connection reset by peer; the same command goes"):
            crew.follow()

    def test_so_does_the_first(self, crew: Crew, tmp_path: Path) -> None:
        job = prepare_tiny(tmp_path / "run").jobs.pretrainings[0]
        with pytest.raises(RunError, match="process 0 lost torchrun"):
            crew.carry_out([job], job.recipe.compute, Heard())


class TestWhatIsKnownOfTheProcesses:
    @pytest.fixture
    def _second_of_four(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = {
            "TORCHELASTIC_RUN_ID": "none",
            "RANK": "1",
            "WORLD_SIZE": "4",
            "LOCAL_RANK": "1",
            "LOCAL_WORLD_SIZE": "2",
        }
        for name, value in {"TORCHELASTIC_RUN_ID": "none", **told}.items():
            monkeypatch.setenv(name, value)

    @pytest.mark.usefixtures("_second_of_four")
    def test_is_what_torchrun_says(self) -> None:
        assert launch() == Launch(rank=1, size=4, local_rank=1, local_size=2)
        assert follows()

    @pytest.mark.usefixtures("_second_of_four")
    def test_one_alone_is_as_without_torchrun(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "1")
        assert launch() is None

    @pytest.mark.usefixtures("_second_of_four")
    def test_another_number_of_them_is_refused(self) -> None:
        config = tiny_config(pretraining={"batch_size": 32}, compute={"processes": 2})
        with pytest.raises(ConfigError, match=r"compute.processes: 2 are asked for, and torchrun has started 4; leave"):
            api.plan(config)

    @pytest.mark.usefixtures("_second_of_four")
    def test_they_are_as_many_as_share_a_batch(self) -> None:
        with pytest.raises(ConfigError, match="a batch of 24 images is not dealt evenly to 4 processes"):
            api.plan(tiny_config(pretraining={"batch_size": 24}))
