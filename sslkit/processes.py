"""What keeps a run's processes together, so that it can be stopped at any moment and leaves none behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""What tells a run to stop: Ctrl-C, a batch system, a terminal that is closed."""


def follow_parent() -> None:
    """Leave what stops a run to the process that started this one, and end with it, however it ends.

    A terminal sends an interrupt to every process of a command; the first of them decides what becomes of the others.
    Where it is killed, which it cannot tell anybody, the system closes the pipe that this process waits at.

    Example:
        >>> from multiprocessing import get_context
        >>> process = get_context("spawn").Process(target=follow_parent)
    """
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def end() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, name="follow-parent", daemon=True).start()


@contextmanager
def stops_held() -> Iterator[Callable[[], bool]]:
    """Hold back what stops a run until the block is over: a process half started belongs to nobody.

    Yields:
        What tells whether the run has been told to stop.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    try:
        with _handled_by(hold):
            yield lambda: bool(held)
    finally:
        for number in held[:1]:
            signal.raise_signal(number)


@contextmanager
def stops_noted() -> Iterator[Sequence[float]]:
    """Note what stops a run in place of stopping, in a process that waits for another to come to a safe point.

    Yields:
        When it was told to, by ``time.monotonic()``.
    """
    told: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(time.monotonic())

    with _handled_by(note):
        yield told


@contextmanager
def stops_ignored() -> Iterator[None]:
    """Ignore what stops a run, which a process that is started in the block does for good."""
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    # Python delivers signals to the main thread alone, and lets no other set their handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: earlier for number in STOPS if (earlier := signal.getsignal(number)) is not None}
    for number, earlier in before.items():
        if earlier != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
