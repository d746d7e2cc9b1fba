"""How much memory a job has taken, and how many such jobs there is room for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch

from sslkit.engine.precision import Compute
from sslkit.experiment.environment import num_workers

_USED = 0.9
"""Of the free memory, what jobs may take together."""

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where the system tells of them."""


def peak_memory(family: str) -> int:
    """Return the most bytes that this process has held: of the GPU's memory on CUDA, of the machine's elsewhere.

    Args:
        family: of the device it computes on: ``"cpu"``, ``"cuda"`` or ``"mps"``.
    """
    if family == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        # Unlike the peak that getrusage tells, this one does not begin with that of the process it was forked from.
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        import resource

        return (1 if sys.platform == "darwin" else 1024) * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def free_memory() -> int:
    """Return the bytes that new processes may take before the system or a control group runs out; 0 where unknown.

    What a control group holds of files that were read, such as decoded images, is given back when memory is needed, so
    it counts as free, as the system counts its own.
    """
    try:
        system = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = [1024 * int(system["MemAvailable"].split()[0])]
        own = Path(Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip())
        for group in (own, *own.parents):
            folder = _CONTROL_GROUPS / group
            if (folder / "memory.max").exists() and (most := (folder / "memory.max").read_text().strip()) != "max":
                held = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                files = int(held["inactive_file"]) + int(held["active_file"])
                free.append(int(most) - int((folder / "memory.current").read_text()) + files)
    except (OSError, KeyError, ValueError):
        return 0
    return max(min(free), 1)


def peak_of_logs(logs: Iterable[Path]) -> int | None:
    """Return the most bytes that the pretrainings of some logs, metrics.jsonl, have held; None where none tells."""
    peaks = []
    for log in logs:
        try:
            peaks += [int(json.loads(line)["peak_memory"]) for line in log.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            continue  # not begun, or damaged
    return max(peaks, default=None)


def workers_that_fit(asked: int | Literal["auto"], compute: Compute, peak: int | None) -> tuple[int, str]:
    """Return how many jobs run at a time, and why that is fewer than one a core; empty where it is not.

    A number that was asked for is kept, and so is one a GPU.

    Args:
        asked: ``compute.workers``.
        compute: what jobs compute on.
        peak: bytes that the largest job holds at most; None where that is not known.
    """
    workers = num_workers(asked, compute)
    free = free_memory()
    if asked != "auto" or compute.family != "cpu" or not peak or not free:
        return workers, ""
    fitting = max(1, int(_USED * free / peak))
    if fitting >= workers:
        return workers, ""
    return fitting, (
        f"{fitting} of {workers} jobs at a time: {free / 1e9:.1f} GB of memory are free, and a pretraining of this "
        f"configuration has taken {peak / 1e9:.1f} GB; compute.workers={workers} would run them all the same"
    )
