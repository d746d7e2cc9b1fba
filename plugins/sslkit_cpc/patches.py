"""Where the overlapping patches of an image lie, and what is done to each."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch

from sslkit import inscribed_square

_LEAST_PATCH = 4
"""Fewer pixels a side show nothing that could be recognised."""

_PATCH_DRAWS = 4
_CHANNELS = 3


@dataclass(frozen=True)
class PatchGrid:
    """Square cells in rows and columns that overlap, in pixels; a patch lies anywhere in its cell.

    Attributes:
        rows: of cells; as many columns.
        start: row of the uppermost cells' first pixel, and column of the leftmost ones'.
        stride: from a cell's first pixel to that of the next one.
        cell: side of a cell.
        patch: side of a patch.
    """

    rows: int
    start: int
    stride: int
    cell: int
    patch: int

    @property
    def jitter(self) -> int:
        """How far a patch may lie from the upper and from the left side of its cell."""
        return self.cell - self.patch

    def corners(self) -> torch.Tensor:
        """Return row and column of the upper left pixel of each cell, int64 (rows * rows, 2), row by row."""
        starts = [self.start + place * self.stride for place in range(self.rows)]
        return torch.tensor(list(itertools.product(starts, starts)))


def make_patch_grid(image_size: int, mask: torch.Tensor | None, rows: int, overlap: float, jitter: float) -> PatchGrid:
    """Lay the largest cells that fit into the largest centred square that lies in the mask as a whole.

    The stride is rounded up, so that cells share no more than was asked for: at an overlap of a half, those of every
    second row share nothing.

    Args:
        image_size: side of the images in pixels.
        mask: bool (image_size, image_size), true where images show their subject; None: everywhere.
        rows: of cells; as many columns.
        overlap: what neighbouring cells share, as a share of a cell's side.
        jitter: what a cell is larger than its patch, as a share of its side; at least a pixel if above 0.

    Raises:
        ValueError: if the patches would have fewer than 4 pixels a side; says which size of images is enough.

    Example:
        >>> make_patch_grid(256, None, rows=7, overlap=0.5, jitter=0.0)
        PatchGrid(rows=7, start=0, stride=32, cell=64, patch=64)
    """
    start, side = inscribed_square(image_size, mask)
    grid = _grid_in_square(side, rows, overlap, jitter)
    if grid.patch < _LEAST_PATCH:
        raise ValueError(_too_small(image_size, side, rows, overlap, jitter))
    return PatchGrid(rows, start + grid.start, grid.stride, grid.cell, grid.patch)


def alter_patches(
    patches: torch.Tensor, generator: torch.Generator, *, one_channel: float, flip: float, brightness: float
) -> torch.Tensor:
    """Change each patch by itself, so that its colour, light and fringes tell little of its neighbours.

    As many numbers are drawn whatever is switched on, so that one option does not change what another draws.

    Args:
        patches: uint8 (P, 3, H, W).
        generator: on the CPU; the only source of randomness.
        one_channel: share of patches of which one channel is shown, drawn for each patch, in the place of all three.
        flip: share of patches that are mirrored, left and right.
        brightness: each patch is multiplied by a factor of 1 - brightness to 1 + brightness, and stops at 255.

    Returns:
        uint8 of the same shape and in the same memory format; a new tensor.

    Example:
        >>> patch = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> shown = alter_patches(patch, torch.Generator(), one_channel=1.0, flip=0.0, brightness=0.0)
        >>> len(shown.unique())
        1
    """
    draws = torch.rand(len(patches), _PATCH_DRAWS, generator=generator).to(patches.device)
    of_channel, of_flip, of_factor, which = draws.unbind(dim=1)
    altered = patches.clone(memory_format=torch.preserve_format)
    lose_colour = of_channel < one_channel
    channels = (which[lose_colour] * _CHANNELS).long()
    chosen = altered[lose_colour].gather(1, channels.view(-1, 1, 1, 1).expand(-1, 1, *patches.shape[2:]))
    altered[lose_colour] = chosen.expand(-1, _CHANNELS, -1, -1)
    mirrored = of_flip < flip
    altered[mirrored] = altered[mirrored].flip(3)
    if brightness:
        factors = 1 + brightness * (2 * of_factor - 1)
        # In place on the float copy: half a grey level is added so that the cut to uint8 rounds.
        altered = altered.float().mul_(factors.view(-1, 1, 1, 1)).add_(0.5).clamp_(max=255).to(torch.uint8)
    return altered


def _grid_in_square(side: int, rows: int, overlap: float, jitter: float) -> PatchGrid:
    cell = next((cell for cell in range(side, 0, -1) if cell + (rows - 1) * _stride(cell, overlap) <= side), 0)
    stride = _stride(cell, overlap)
    unused = side - cell - (rows - 1) * stride
    play = max(1, round(jitter * cell)) if jitter > 0 else 0
    return PatchGrid(rows, unused // 2, stride, cell, cell - play)


def _stride(cell: int, overlap: float) -> int:
    # Rounded first, since 10 * (1 - 0.7) is above 3 by an error of the last bit, and 4 would be wrong.
    return math.ceil(round(cell * (1 - overlap), 6))


def _too_small(image_size: int, side: int, rows: int, overlap: float, jitter: float) -> str:
    if side < 2 <= image_size:
        return f"the mask hides the centre of the images of {image_size} px, and the patches are cut from around it"
    # A pixel to spare: by rounding, a larger square may have patches that are smaller by one pixel. And a square of
    # whole pixels is up to a pixel larger or smaller than the mask's true one, in small images as in large ones.
    needed = next(
        side for side in itertools.count(side) if _grid_in_square(side, rows, overlap, jitter).patch > _LEAST_PATCH
    )
    enough = math.ceil(image_size * (needed + 1) / max(1, side - 1))
    return (
        f"{rows} rows of patches of {_LEAST_PATCH} px or more, with overlap = {overlap:g} and jitter = {jitter:g}, do "
        f"not fit into the {side} px square that images of {image_size} px have for them; images.size = {enough} is "
        "enough, and fewer rows (grid) need less"
    )
