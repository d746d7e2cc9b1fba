"""Whether other processes train along, and what is said when one of them is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed

from sslkit.errors import RunError


def num_processes() -> int:
    """Return how many processes train together: one, unless they have joined."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


@contextmanager
def connection() -> Iterator[None]:
    """Say of what torch.distributed raises in the block that another process is gone, and not whose call it was.

    Raises:
        RunError: for any RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        raise lost_another(error) from error


def lost_another(error: RuntimeError) -> RunError:
    """Return what to say of an error of torch.distributed."""
    return RunError(
        f"process {distributed.get_rank()} of {num_processes()} lost another one that trains along: {error}"
    )
