"""How a page is served: to whom, how much, and what is kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sslkit.serve.secret import Secret

MEGABYTE = 10**6


def unheard(line: str) -> None:
    """Drop a line that nobody asked for."""


@dataclass(frozen=True)
class Settings:
    """What an application is told when it is made.

    Attributes:
        secret: what one signs in with; None: anybody who reaches the page may use it.
        names: names beyond this machine's own that a browser may call the server by.
        exposed: whether other machines reach it, so that addresses other than this machine's own are right names.
        max_bytes: of an upload.
        keep: a folder in which uploads and answers are kept; None: nothing is.
        most_waiting: uploads at a time, the one that is graded among them; more are told to come back.
        idle_seconds: how long an upload may pause.
        upload_seconds: how long it may take altogether.
        log: hears one line a request, without names of files.
        clock: seconds that never go back, for failures and sessions.
    """

    secret: Secret | None = None
    names: frozenset[str] = frozenset()
    exposed: bool = False
    max_bytes: int = 50 * MEGABYTE
    keep: Path | None = None
    most_waiting: int = 8
    idle_seconds: float = 15.0
    upload_seconds: float = 120.0
    log: Callable[[str], None] = unheard
    clock: Callable[[], float] = field(default=time.monotonic)
