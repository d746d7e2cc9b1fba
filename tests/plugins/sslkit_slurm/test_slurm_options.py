from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jobs import Note
from studies import tiny_config
from submitit.slurm.slurm import _make_sbatch_string

import sslkit
from sslkit.errors import ConfigError, PluginError
from sslkit.experiment.study import resolve
from sslkit_slurm import Slurm, SlurmConfig
from sslkit_slurm.options import minutes, parameters, python


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (30, 30),
        ("30", 30),
        ("30:00", 30),
        ("30:01", 31),
        ("02:00:00", 120),
        ("02:00:01", 121),
        ("1-0", 1440),
        ("2-12:30", 3630),
        ("1-00:00:30", 1441),
    ],
)
def test_times_are_read_as_slurm_reads_them(time: int | str, expected: int) -> None:
    assert minutes(time) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "eight hours"}, r"executor.time: 'eight hours' is no time; write minutes, '08:00:00'"),
        ({"time": "00:00:00"}, r"executor.time: '00:00:00' is no time at all"),
        ({"time": 0}, r"executor.time"),
        ({"memory": "much"}, r"executor.memory"),
        ({"partitoin": "gpu"}, r"executor.partitoin.*did you mean 'partition'"),
        ({"cluster": "slrum"}, r"executor.cluster: input should be 'slurm', 'local' or 'debug'; given: 'slrum'"),
        ({"sbatch": {"cpus_per_task": 3}}, r"executor.sbatch: 'cpus_per_task' has a key of its own: executor.cpus"),
        ({"sbatch": {"--array": "0-3"}}, r"executor.sbatch: '--array' is given by the executor itself; leave it out"),
        ({"at_a_time": 0}, r"executor.at_a_time"),
    ],
)
def test_wrong_options_are_refused_by_their_key(options: dict[str, Any], message: str) -> None:
    config = tiny_config(compute={"executor": "slurm"}, executor=options)
    with pytest.raises(ConfigError, match=r"(?s)" + message):
        resolve(config, sslkit.build_registry())


def test_options_reach_the_batch_file_that_sbatch_reads(tmp_path: Path) -> None:
    config = SlurmConfig(
        partition="gpu",
        time="1-00:00:00",
        gpus=1,
        cpus=3,
        memory="16G",
        account="lab",
        qos="low",
        constraint="a100",
        setup=("module load cuda",),
        signal_seconds=60,
        sbatch={"nice": 100, "job_name": "mine", "exclusive": True, "hold": False},
    )
    text = _make_sbatch_string(f"{python()} -m this", tmp_path, map_count=9, **parameters(config, 4, 2))
    lines = {line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")}
    assert lines == {
        *("partition=gpu", "time=1440", "gpus-per-node=4", "cpus-per-task=12", "mem=16G", "account=lab", "qos=low"),
        *("constraint=a100", "nice=100", "job-name=mine", "exclusive", "nodes=1", "ntasks=1", "requeue"),
        *("signal=B:USR2@60", "array=0-8%2", "open-mode=append", "wckey=submitit"),
        f"output={tmp_path}/%A_%a_0_log.out",
        f"error={tmp_path}/%A_%a_0_log.err",
    }
    shell = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert shell == ["module load cuda", "trap '' USR2", "export SUBMITIT_EXECUTOR=slurm", f"{python()} -m this"]
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0


def test_the_program_takes_the_place_of_its_shell() -> None:
    told = subprocess.run(
        ["bash", "-c", f"echo $$\n{python()} -c 'import os; print(os.getpid())'"],
        capture_output=True,
        text=True,
        check=True,
    )
    shell, program = told.stdout.split()
    assert shell == program


def test_by_default_little_is_asked_for() -> None:
    asked = parameters(SlurmConfig(), 1, 8)
    assert (asked["time"], asked["cpus_per_task"], asked["array_parallelism"]) == (240, 1, 8)
    assert not {"partition", "gpus_per_node", "account"} & set(asked)


def test_without_sbatch_it_says_where_to_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"this machine has no sbatch; start the command on a node of the cluster"):
        Slurm(SlurmConfig(folder=tmp_path)).run([Note("a", tmp_path / "log")], 1, None)  # type: ignore[arg-type]


def test_without_submitit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    executor = Slurm(SlurmConfig(cluster="local", folder=tmp_path))
    with pytest.raises(PluginError, match=r"needs submitit.*pip install 'sslkit\[slurm\]'"):
        executor.run([Note("a", tmp_path / "log")], 1, None)  # type: ignore[arg-type]  # nothing is told


def test_jobs_of_no_run_need_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"executor.folder: jobs of no run need a folder"):
        Slurm(SlurmConfig(cluster="local")).run([Note("a", tmp_path / "log")], 1, None)  # type: ignore[arg-type]
