"""What torchrun tells the processes that it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """This process among those of one torchrun.

    Attributes:
        rank: its number among all, from 0.
        size: how many they are, on all machines.
        local_rank: its number on its machine.
        local_size: how many there are on its machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def launch() -> Launch | None:
    """Return what torchrun says of this process; None where none has started it, or it alone.

    Example:
        >>> launch() is None
        True
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    return Launch(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


def follows() -> bool:
    """Return whether this is one of the processes of torchrun that follow the first.

    Example:
        >>> follows()
        False
    """
    launched = launch()
    return launched is not None and launched.rank > 0
