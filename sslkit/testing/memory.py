"""Which tensors are in memory."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def only_new_objects() -> Iterator[None]:
    """Let the garbage collector look at nothing that is there already: hundreds of thousands of objects, mostly."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def live_tensors() -> int:
    """Return how many tensors there are among the objects that the garbage collector looks at."""
    gc.collect()
    return sum(issubclass(type(value), torch.Tensor) for value in gc.get_objects())
