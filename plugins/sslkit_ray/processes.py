"""The processes of jobs on a node: which they were, and their end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

Process = tuple[int, str]
"""Number of a process, and when it was started, in the system's own terms: numbers are given again."""

_PATIENCE = 3.0
"""Seconds that a process may take to end once its job is over."""


def this_process() -> Process:
    """Return this process."""
    return os.getpid(), _started(os.getpid())


def end(processes: Sequence[Process], patience: float = _PATIENCE) -> None:
    """Wait for processes to end, and kill those that do not."""
    deadline = time.monotonic() + patience
    while (left := [one for one in processes if _is_the_same(one)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for number, started in left:
        if started:  # where the system does not say so, it may be another's by now
            os.kill(number, getattr(signal, "SIGKILL", signal.SIGTERM))


def is_there(number: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except OSError:
        return False
    return True


def _is_the_same(process: Process) -> bool:
    number, started = process
    return is_there(number) and _started(number) == started


def _started(number: int) -> str:
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
