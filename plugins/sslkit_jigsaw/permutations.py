"""The permutations that the puzzle is dealt from: few, and as unlike one another as can be."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

_MOST_TILES = 9
_TAKEN = -(2**30)  # a summed distance that no later one brings above zero

Permutations = npt.NDArray[np.uint8]


def all_permutations(num_tiles: int) -> Permutations:
    """Return every order of the tiles, in lexicographic order.

    Args:
        num_tiles: how many there are.

    Returns:
        uint8 (num_tiles!, num_tiles).

    Example:
        >>> all_permutations(3).tolist()
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    """
    table = np.zeros((1, 0), np.uint8)
    for size in range(1, num_tiles + 1):
        # Behind each first tile come the orders of the others, which are numbered without a hole in the smaller table.
        table = np.concatenate([np.insert(table + (table >= first), 0, first, axis=1) for first in range(size)])
    return table


@cache
def choose_permutations(num_permutations: int, num_tiles: int = 9) -> Permutations:
    """Choose permutations greedily for the greatest Hamming distance: in how many places two orders differ.

    Noroozi and Favaro 2016, algorithm 1, with "max": begin with one permutation and add, again and again, the one whose
    distances to all that are chosen have the greatest sum. Two things are settled that the paper leaves to chance: the
    first permutation is the identity (any other would rename the tiles), and of several with the same sum that one is
    taken whose nearest chosen neighbour is farthest, and of those the first in lexicographic order.

    Args:
        num_permutations: how many to choose, 1 to num_tiles!.
        num_tiles: 1 to 9.

    Returns:
        uint8 (num_permutations, num_tiles), all different, the same in each call; read-only, since it is shared.

    Raises:
        ValueError: if there are not as many permutations, or more tiles than 9.

    Example:
        >>> choose_permutations(3, num_tiles=3).tolist()
        [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    if not 1 <= num_tiles <= _MOST_TILES:
        raise ValueError(f"num_tiles must be 1 to {_MOST_TILES}, not {num_tiles}")
    if not 1 <= num_permutations <= math.factorial(num_tiles):
        raise ValueError(
            f"{num_tiles} tiles have {math.factorial(num_tiles):,} permutations; choose 1 to that many, not "
            f"{num_permutations:,}"
        )
    table = all_permutations(num_tiles)
    by_place = np.ascontiguousarray(table.T)
    summed = np.zeros(len(table), np.int32)
    nearest = np.full(len(table), num_tiles, np.uint8)
    chosen = [0]
    while len(chosen) < num_permutations:
        distances = np.zeros(len(table), np.uint8)
        for tiles, tile in zip(by_place, table[chosen[-1]], strict=True):
            distances += tiles != tile
        summed += distances
        np.minimum(nearest, distances, out=nearest)
        summed[chosen[-1]] = _TAKEN
        best = np.flatnonzero(summed == summed.max())
        chosen.append(int(best[nearest[best].argmax()]))
    permutations = table[chosen]
    permutations.setflags(write=False)
    return permutations
