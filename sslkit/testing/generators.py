"""The global generators of torch, numpy and Python."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def every_generator_seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, and leave them as they were.

    A run seeds torch's alone. Here a task that draws from another one is to be caught by the check of that, and by no
    other.
    """
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def generator_states() -> dict[str, str]:
    """Return the whole state of each generator, by the name of its library."""
    states = {"torch": torch.get_rng_state().tolist(), "numpy": np.random.get_state(), "random": random.getstate()}
    return {name: str(state) for name, state in states.items()}
