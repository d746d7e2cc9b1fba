"""Where the nine patches of an image lie, and which of them are neighbours."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from sslkit import inscribed_square

CELLS_A_SIDE = 3
NUM_PATCHES = CELLS_A_SIDE**2
NUM_DIRECTIONS = 8

_LEAST_PATCH = 4
"""Fewer pixels a side show nothing that could be recognised."""


@dataclass(frozen=True)
class Layout:
    """Nine patches in a square, three by three, in pixels.

    Attributes:
        start: row of the upper patches' first pixel, and column of the left ones', before they are moved.
        patch: side of a patch.
        gap: pixels between neighbouring patches, before they are moved.
        jitter: how far a patch is moved at most, in either direction and along either axis.
    """

    start: int
    patch: int
    gap: int
    jitter: int

    @property
    def least_gap(self) -> int:
        """Pixels between two neighbouring patches at least, wherever both are moved."""
        return self.gap - 2 * self.jitter

    def corners(self) -> torch.Tensor:
        """Return row and column of the upper left pixel of each unmoved patch, int64 (9, 2), row by row."""
        return self.start + (self.patch + self.gap) * cells()


def cells() -> torch.Tensor:
    """Return row and column of the cells, each 0..2, int64 (9, 2), row by row."""
    return torch.tensor(list(itertools.product(range(CELLS_A_SIDE), repeat=2)))


def direction(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return on which side of a first cell its neighbour lies.

    Args:
        first: row and column of a cell, int64 (..., 2).
        second: of one that touches it at a side or a corner.

    Returns:
        int64 (...), 0..7: the places around the first cell, counted row by row from the upper left.

    Raises:
        ValueError: if two cells are no neighbours.

    Example:
        >>> direction(torch.tensor([1, 1]), torch.tensor([[0, 0], [0, 1], [1, 2], [2, 2]])).tolist()
        [0, 1, 4, 7]
    """
    down, across = (second - first).unbind(dim=-1)
    if (torch.maximum(down.abs(), across.abs()) != 1).any():
        raise ValueError(f"cells must be neighbours, and two are not among {first.tolist()} and {second.tolist()}")
    place = 3 * (down + 1) + across + 1
    return place - (place > 4).long()  # the fifth of nine places is the first cell itself


def neighbours() -> torch.Tensor:
    """Return all ordered pairs of neighbours among the nine cells.

    Returns:
        int64 (40, 2): the numbers of two cells, counted row by row.

    Example:
        >>> neighbours()[:3].tolist()
        [[0, 1], [0, 3], [0, 4]]
    """
    apart = (cells().unsqueeze(1) - cells()).abs().amax(dim=2)
    return (apart == 1).nonzero()


def make_layout(image_size: int, mask: torch.Tensor | None, gap: float, jitter: float) -> Layout:
    """Lay nine patches, as large as they can be, into the largest centred square that lies in the mask as a whole.

    Args:
        image_size: side of the images in pixels.
        mask: bool (image_size, image_size), true where images show their subject; None: everywhere.
        gap: distance of neighbouring patches as a share of a patch's side, before they are moved.
        jitter: how far a patch is moved at most, as a share of the same; at least one pixel unless 0.

    Returns:
        A layout whose least gap is one pixel or more.

    Raises:
        ValueError: if the patches would have fewer than 4 pixels a side; says which size of images is enough.

    Example:
        >>> make_layout(96, None, gap=0.5, jitter=0.07)
        Layout(start=4, patch=22, gap=11, jitter=2)
    """
    start, side = inscribed_square(image_size, mask)
    needed = _side_for(_LEAST_PATCH, gap, jitter)
    if side < needed:
        raise ValueError(_too_small(image_size, side, needed, gap, jitter))
    patch = next(patch for patch in range(side, 0, -1) if _side_for(patch, gap, jitter) <= side)
    unused = side - _side_for(patch, gap, jitter)
    gap_pixels, jitter_pixels = _pixels(patch, gap, jitter)
    return Layout(start + unused // 2 + jitter_pixels, patch, gap_pixels, jitter_pixels)


def _pixels(patch: int, gap: float, jitter: float) -> tuple[int, int]:
    """Return gap and jitter in pixels, of which the first is greater than twice the second."""
    jitter_pixels = max(1, round(jitter * patch)) if jitter > 0 else 0
    return max(round(gap * patch), 2 * jitter_pixels + 1), jitter_pixels


def _side_for(patch: int, gap: float, jitter: float) -> int:
    """Return the side of the square that nine patches need, moved in whatever way."""
    gap_pixels, jitter_pixels = _pixels(patch, gap, jitter)
    return CELLS_A_SIDE * patch + (CELLS_A_SIDE - 1) * gap_pixels + 2 * jitter_pixels


def _too_small(image_size: int, side: int, needed: int, gap: float, jitter: float) -> str:
    if side < 2 <= image_size:
        return f"the mask hides the centre of the images of {image_size} px, and the patches are cut from around it"
    # The mask's square is a whole number of pixels: in larger images it may be up to a pixel smaller, for its share.
    enough = math.ceil(image_size * (needed + 1) / max(1, side - 1))
    return (
        f"nine patches of {_LEAST_PATCH} px or more, with gap = {gap:g} and jitter = {jitter:g}, do not fit into the "
        f"{side} px square that images of {image_size} px have for them; images.size = {enough} is enough"
    )
