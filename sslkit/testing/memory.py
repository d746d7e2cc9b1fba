"""What is in memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
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


def tensors_left(train: Callable[[int], object]) -> int:
    """Return how many more tensors there are after a third round of training than after the second one.

    Args:
        train: trains for a few updates; takes the number of the round, 0 to 2.
    """
    counts = []
    with only_new_objects():
        for number in range(3):
            train(number)
            counts.append(live_tensors())
    return counts[2] - counts[1]


def peak_memory(function: Callable[[], object]) -> int:
    """Return the most bytes that Python objects and arrays have taken during a call, beyond what was there before."""
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        function()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not tracing:
            tracemalloc.stop()
    return peak - before
