"""How much memory a job has taken."""

from __future__ import annotations

import sys
from pathlib import Path

import torch


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
