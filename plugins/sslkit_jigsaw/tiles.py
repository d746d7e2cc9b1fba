"""Where the nine tiles of an image lie."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from sslkit import inscribed_square

TILES_A_SIDE = 3
NUM_TILES = TILES_A_SIDE**2

_LEAST_TILE = 4
"""Fewer pixels a side show nothing that could be recognised."""


@dataclass(frozen=True)
class Grid:
    """Nine cells in a square, in pixels; a tile lies anywhere in its cell.

    Attributes:
        start: row of the uppermost cells' first pixel, and column of the leftmost ones'.
        cell: side of a cell.
        gap: pixels between neighbouring cells, which no tile enters.
        tile: side of a tile.
    """

    start: int
    cell: int
    gap: int
    tile: int

    @property
    def jitter(self) -> int:
        """How far a tile may lie from the upper and from the left side of its cell."""
        return self.cell - self.tile

    def corners(self) -> torch.Tensor:
        """Return row and column of the upper left pixel of each cell, int64 (9, 2), row by row."""
        starts = [self.start + place * (self.cell + self.gap) for place in range(TILES_A_SIDE)]
        return torch.tensor(list(itertools.product(starts, starts)))


def make_grid(image_size: int, mask: torch.Tensor | None, gap: float, jitter: float) -> Grid:
    """Lay nine cells into the largest centred square that lies in the mask as a whole.

    Args:
        image_size: side of the images in pixels.
        mask: bool (image_size, image_size), true where images show their subject; None: everywhere.
        gap: distance of neighbouring cells as a share of a third of the square's side; at least a pixel if above 0.
        jitter: what a cell is larger than its tile, as a share of the same; at least a pixel if above 0.

    Raises:
        ValueError: if the tiles would have fewer than 4 pixels a side; says which size of images is enough.

    Example:
        >>> make_grid(96, None, gap=0.1, jitter=0.15)
        Grid(start=0, cell=30, gap=3, tile=25)
    """
    start, side = inscribed_square(image_size, mask)
    grid = _grid_in_square(side, gap, jitter)
    if grid.tile < _LEAST_TILE:
        raise ValueError(_too_small(image_size, side, gap, jitter))
    return Grid(start + grid.start, grid.cell, grid.gap, grid.tile)


def _grid_in_square(side: int, gap: float, jitter: float) -> Grid:
    gap_pixels, jitter_pixels = _pixels(gap, side), _pixels(jitter, side)
    cell = (side - (TILES_A_SIDE - 1) * gap_pixels) // TILES_A_SIDE
    unused = side - TILES_A_SIDE * cell - (TILES_A_SIDE - 1) * gap_pixels
    return Grid(unused // 2, cell, gap_pixels, cell - jitter_pixels)


def _pixels(share: float, side: int) -> int:
    return max(1, round(share * side / TILES_A_SIDE)) if share > 0 else 0


def _too_small(image_size: int, side: int, gap: float, jitter: float) -> str:
    if side < 2 <= image_size:
        return f"the mask hides the centre of the images of {image_size} px, and the tiles are cut from around it"
    # A pixel to spare: by rounding, a larger square may have tiles that are smaller by one pixel. And a square of whole
    # pixels is up to a pixel larger or smaller than the mask's true one, in small images as in large ones.
    needed = next(side for side in itertools.count(side) if _grid_in_square(side, gap, jitter).tile > _LEAST_TILE)
    enough = math.ceil(image_size * (needed + 1) / max(1, side - 1))
    return (
        f"nine tiles of {_LEAST_TILE} px or more, with gap = {gap:g} and jitter = {jitter:g}, do not fit into the "
        f"{side} px square that images of {image_size} px have for them; images.size = {enough} is enough"
    )
