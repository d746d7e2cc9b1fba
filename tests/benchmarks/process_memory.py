"""What the kernel says of a process's memory."""

from __future__ import annotations

from pathlib import Path


def memory(field: str, pid: int | str = "self") -> int:
    """Return a field of /proc/PID/status in bytes: ``RssAnon``, what it holds for itself, or ``VmHWM``, its peak.

    Unlike the peak that ``getrusage`` tells, ``VmHWM`` does not begin with that of the parent. 0 where it has ended.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
