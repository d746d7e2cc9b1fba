"""Masks of images, the square in a mask, looked for pixel by pixel, and images whose pixels say where they lie."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from sslkit.data.cropping import circular_mask


def fundus_mask(size: int) -> torch.Tensor:
    return torch.from_numpy(circular_mask(size))


@st.composite
def ellipses(draw: st.DrawFn, smallest: int = 40, largest: int = 130) -> torch.Tensor:
    """Masks of which some do not lie in the middle, and some reach beyond the image."""
    size = draw(st.integers(smallest, largest))
    down, across = (draw(st.floats(0.3, 0.6)) * size for _ in range(2))
    row, column = (size / 2 + draw(st.floats(-0.1, 0.1)) * size for _ in range(2))
    places = torch.arange(size) + 0.5
    return ((places[:, None] - row) / down) ** 2 + ((places - column) / across) ** 2 <= 1


def naive_square(mask: torch.Tensor) -> tuple[int, int]:
    """The first row and the side of the largest centred square in a mask: pixel by pixel, from the largest."""
    size = len(mask)
    for margin in range((size + 1) // 2):
        inside = range(margin, size - margin)
        if all(bool(mask[row, column]) for row in inside for column in inside):
            return margin, size - 2 * margin
    return size // 2, 0


def coordinates(num_images: int, size: int, masked: bool = False) -> torch.Tensor:
    """Images whose red is the row, green the column and blue the image's number; what a mask hides is 255 in all."""
    places = torch.arange(size, dtype=torch.uint8)
    images = torch.empty(num_images, 3, size, size, dtype=torch.uint8)
    images[:, 0], images[:, 1] = places[:, None], places
    images[:, 2] = torch.arange(num_images)[:, None, None]
    if masked:
        images[:, :, ~fundus_mask(size)] = 255
    return images
