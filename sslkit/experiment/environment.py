"""The machine and the processes of a run."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
from collections.abc import Iterable
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Literal

import torch

from sslkit.engine.precision import Compute
from sslkit.processes import stops_ignored

# An optimiser imports torch._dynamo at its first step, whether or not anything is compiled: two seconds a job.
_PRELOADED = ("torch", "torch._dynamo", "sslkit.experiment.cell", "sslkit.experiment.pretraining")


def process_context(modules: Iterable[str]) -> BaseContext:
    """Return a context whose processes are forked from a server that has these modules loaded.

    The server is one for the whole program and starts no thread of its own, which makes forking it safe. It is started
    here and deaf to what stops a run: jobs are on their way to a safe point then, and it has to see their end.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED, *modules])
    with stops_ignored():
        forkserver.ensure_running()
    return context


def num_workers(asked: int | Literal["auto"], compute: Compute) -> int:
    """Return how many jobs run at a time: one a core on the CPU, one a GPU, one where the device is named."""
    if asked != "auto":
        return asked
    if compute.device == "cuda":
        return torch.cuda.device_count()
    return available_cores() if compute.device == "cpu" else 1


def num_decoders(asked: int | Literal["auto"]) -> int:
    """Return how many processes decode images: one a core, whatever the jobs compute on."""
    return available_cores() if asked == "auto" else asked


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the repository that a folder lies in, and whether it was changed since; None without one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or none with a commit
        return None


_CAREFULLY = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
"""A repository may name programs that git starts when it is asked for its state, and the folder may be a stranger's."""


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", *_CAREFULLY, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def hardware(compute: Compute) -> dict[str, Any]:
    """Return what the run computed on, as plain values."""
    on_gpu = compute.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(compute.device) if on_gpu else compute.device,
        "precision": compute.precision,
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gib": _memory_gib(),
        "system": platform.platform(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(names):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
