"""What every process that a run starts has to do so that none is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait


def follow_parent() -> None:
    """Leave an interrupt to the process that started this one, and end with it, however it ends.

    A terminal sends an interrupt to every process of a command; the first of them decides what becomes of the others.
    Where it is killed, which it cannot tell anybody, the system closes the pipe that this process waits at.

    Example:
        >>> from multiprocessing import get_context
        >>> process = get_context("spawn").Process(target=follow_parent)
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def end() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, name="follow-parent", daemon=True).start()
