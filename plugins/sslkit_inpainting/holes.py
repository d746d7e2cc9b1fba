"""Where the image is hidden: on a grid of squares, inside the mask, never nowhere.

Pathak et al. 2016, arXiv 1604.07379, section 3.3.
"""

from __future__ import annotations

import math

import torch

NUM_BLOCKS = 8
"""Blocks that are tried for an image: their mean area is about a 28th of it, so that eight come near a quarter."""


def center_hole(inside: torch.Tensor, share: float) -> torch.Tensor:
    """Return a square block about the centre that covers a share of the image; of it, what is inside the mask.

    Args:
        inside: squares that may be hidden, bool (h, h).
        share: of the area, in 0..1.

    Returns:
        bool (h, h).

    Example:
        >>> center_hole(torch.ones(4, 4, dtype=torch.bool), share=0.25).int().tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    side = len(inside)
    length = max(round(math.sqrt(share) * side), 1)
    start = (side - length) // 2
    hole = torch.zeros_like(inside)
    hole[start : start + length, start : start + length] = True
    return hole & inside


def random_blocks(inside: torch.Tensor, share: float, num_images: int, generator: torch.Generator) -> torch.Tensor:
    """Hide several blocks of each image, which may overlap, until they cover a share of what is inside the mask.

    A block has sides of an eighth to a quarter of the image's, and holds a square inside the mask that is drawn; what
    it has outside is left out. One that would take the sum over the share is not hidden; the first never would.

    Args:
        inside: squares that may be hidden, bool (h, h), on the CPU.
        share: the most of them that are hidden, in 0..1.
        num_images: N.
        generator: on the CPU.

    Returns:
        bool (N, h, h), with one square at least in each image.

    Raises:
        ValueError: if the share is less than one square.

    Example:
        >>> inside = torch.ones(16, 16, dtype=torch.bool)
        >>> hidden = random_blocks(inside, 0.25, 2, torch.Generator().manual_seed(0))
        >>> hidden.shape, bool((hidden.sum(dim=(1, 2)) <= 64).all())
        (torch.Size([2, 16, 16]), True)
    """
    side, most = len(inside), math.floor(share * int(inside.sum()))
    if most < 1:
        raise ValueError(f"a share of {share} of {int(inside.sum())} squares is less than one; give smaller squares")
    longest = min(max(side // 4, 1), math.isqrt(most))
    shortest = min(max(side // 8, 1), longest)
    places, positions = inside.nonzero(), torch.arange(side)
    hidden = torch.zeros(num_images, side, side, dtype=torch.bool)
    for _ in range(NUM_BLOCKS):
        held = places[torch.randint(len(places), (num_images,), generator=generator)]
        lengths = torch.randint(shortest, longest + 1, (num_images, 2), generator=generator)
        starts = held - (torch.rand(num_images, 2, generator=generator) * lengths).long()
        from_start = positions - starts[..., None]  # (N, 2, h)
        spans = (from_start >= 0) & (from_start < lengths[..., None])
        more = hidden | (spans[:, 0, :, None] & spans[:, 1, None, :] & inside)
        fits = more.sum(dim=(1, 2)) <= most
        hidden = torch.where(fits[:, None, None], more, hidden)
    return hidden
