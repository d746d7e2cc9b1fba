"""Seeds and orders as pure functions of names and numbers, so that a resumed run is the run."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt
import torch


def derive_seed(*parts: int | str) -> int:
    """Return a seed in 0..2**63 - 1 that depends on every part and on nothing else.

    Example:
        >>> derive_seed(0, "views", 3) == derive_seed(0, "views", 3) != derive_seed(0, "views", 4)
        True
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def make_generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by [derive_seed][sslkit.engine.seeding.derive_seed]."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def shuffled_rows(rows: npt.NDArray[np.int64], start: int, count: int, *seed: int | str) -> npt.NDArray[np.int64]:
    """Return positions ``start`` to ``start + count`` of an endless stream of shuffled passes over ``rows``.

    Every pass holds each row once; pass e is shuffled by (seed, e), so that any stretch of the stream can be had alone.

    Args:
        rows: int64 (M,), at least one.
        start: first position.
        count: how many.
        *seed: names the stream.
    """
    passes = range(start // len(rows), (start + count - 1) // len(rows) + 1)
    stretch = np.concatenate([np.random.default_rng(derive_seed(*seed, number)).permutation(rows) for number in passes])
    offset = start - passes.start * len(rows)
    return stretch[offset : offset + count]
