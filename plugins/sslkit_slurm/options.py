"""What is asked of the scheduler for a job: the table ``[executor]``."""

from __future__ import annotations

import re
import shlex
import sys
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from sslkit import ConfigPath, PluginConfig

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")
_OWN = ("array", "chdir", "error", "open-mode", "output", "parsable", "requeue", "signal", "wait", "wrap")
"""Options of sbatch that the executor gives itself."""

_KNOWN = {
    **{name: name for name in ("account", "constraint", "partition", "qos", "time")},
    "cpus-per-task": "cpus",
    "gpus-per-node": "gpus",
    "mem": "memory",
}
"""Options of sbatch that have a key of their own."""


class SlurmConfig(PluginConfig):
    """What is asked of the scheduler for a job.

    Attributes:
        cluster: "slurm"; "local" and "debug" are submitit's own, for trying out without a scheduler.
        partition: where jobs go; the cluster's default where none is named.
        time: for a job at a time, as Slurm writes it ("08:00:00", "1-12:00:00") or in minutes.
        gpus: for each process of a job.
        cpus: for each process of a job, which computes in one thread.
        memory: of a job, as Slurm writes it: "16G".
        account: whom it is charged to.
        qos: quality of service.
        constraint: features of a node.
        at_a_time: cores or GPUs that jobs take together at a time; those of compute.workers where none are named.
        array_size: most jobs of one array, which the cluster's MaxArraySize may limit further.
        setup: lines of shell to run before a job, such as "module load cuda".
        folder: for the scheduler's files and logs, on a disk that all nodes see; slurm in the run directory.
        signal_seconds: before the time is up, to come to a safe point and be queued again.
        poll_seconds: between two looks at the queue.
        sbatch: further options of sbatch by their long names: {nice = 100, gres = "gpu:a100:1"}.
    """

    cluster: Literal["slurm", "local", "debug"] = "slurm"
    partition: str | None = Field(None, min_length=1)
    time: Annotated[int, Field(gt=0)] | str = "04:00:00"
    gpus: int = Field(0, ge=0)
    cpus: int = Field(1, ge=1)
    memory: str | None = Field(None, pattern=r"^\d+[KMGT]?$")
    account: str | None = Field(None, min_length=1)
    qos: str | None = Field(None, min_length=1)
    constraint: str | None = Field(None, min_length=1)
    at_a_time: int | None = Field(None, ge=1)
    array_size: int = Field(1000, ge=1)
    setup: tuple[str, ...] = Field((), strict=False)
    folder: ConfigPath | None = None
    signal_seconds: int = Field(90, ge=1)
    poll_seconds: float = Field(10.0, ge=1)
    sbatch: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("time")
    @classmethod
    def _is_a_time(cls, value: int | str) -> int | str:
        minutes(value)
        return value

    @field_validator("sbatch")
    @classmethod
    def _leaves_ours_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            plain = name.lstrip("-").replace("_", "-")
            if plain in _KNOWN:
                raise ValueError(f"{name!r} has a key of its own: executor.{_KNOWN[plain]}")
            if plain in _OWN:
                raise ValueError(f"{name!r} is given by the executor itself; leave it out")
        return value


def minutes(time: int | str) -> int:
    """Return a time limit in whole minutes, as Slurm rounds it: up.

    Raises:
        ValueError: if it is no time, or none at all.

    Example:
        >>> minutes("08:00:00"), minutes("1-12:00"), minutes("90"), minutes("0:30")
        (480, 2160, 90, 1)
    """
    if isinstance(time, int):
        return time
    found = _TIME.fullmatch(time.strip())
    if found is None:
        raise ValueError(f"{time!r} is no time; write minutes, '08:00:00' or '1-12:00:00'")
    parts = [int(part) for part in found["clock"].split(":")]
    if found["days"] is not None:  # days-hours[:minutes[:seconds]]
        hours, mins, seconds = [*parts, 0, 0][:3]
        hours += 24 * int(found["days"])
    else:  # [hours:]minutes[:seconds]
        hours, mins, seconds = parts if len(parts) == 3 else (0, *[*parts, 0][:2])
    total = -(-(3600 * hours + 60 * mins + seconds) // 60)
    if total < 1:
        raise ValueError(f"{time!r} is no time at all; write minutes, '08:00:00' or '1-12:00:00'")
    return total


def parameters(config: SlurmConfig, processes: int, at_a_time: int) -> dict[str, Any]:
    """Return what submitit is told of an array of jobs.

    The program takes the place of the batch shell, without srun: Slurm's signals then reach it alone, and not the
    processes of a pretraining that has several, which end as it tells them.
    """
    named = {key: getattr(config, key) for key in ("partition", "account", "qos", "constraint")}
    extra: dict[str, Any] = {name.lstrip("-").replace("_", "-"): value for name, value in config.sbatch.items()}
    extra = {name: value for name, value in extra.items() if value is not False}
    if config.memory is not None:
        extra["mem"] = config.memory
    if config.gpus:
        named["gpus_per_node"] = config.gpus * processes
    return {
        **{key: value for key, value in named.items() if value is not None},
        "job_name": str(extra.pop("job-name", "sslkit")),
        "time": minutes(config.time),
        "cpus_per_task": config.cpus * processes,
        "array_parallelism": at_a_time,
        # Until Python has handlers of its own; ending a process that has just begun would look like its death.
        "setup": [*config.setup, "trap '' USR2"],
        "use_srun": False,
        "additional_parameters": {
            **extra,
            "nodes": 1,
            "ntasks": 1,
            "requeue": True,
            "signal": f"B:USR2@{config.signal_seconds}",
        },
    }


def python() -> str:
    """Return the command that starts this Python in place of the shell that runs it."""
    return f"exec {shlex.quote(sys.executable)}"
