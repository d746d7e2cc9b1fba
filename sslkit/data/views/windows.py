"""Which part of an image a view shows, and which way up."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.nn import functional as F

Turns = Literal["any", "quarter", "none"]

NUM_DRAWS = 6
"""Numbers that a window is made of."""

_WIDEST = 4 / 3
"""Ratio of the sides of a window, or its inverse, at most (Szegedy et al. 2014, arXiv 1409.4842, section 6)."""


def disc_radius(mask: torch.Tensor) -> float:
    """Return the radius of the largest centred disc in a mask, bool (H, W); 1 reaches the middle of the sides.

    Example:
        >>> disc_radius(torch.ones(4, 4, dtype=torch.bool))
        1.0
    """
    size = len(mask)
    places = (2 * torch.arange(size) + 1) / size - 1
    distances = torch.hypot(places[:, None], places[None, :])[~mask]
    nearest = distances.min().item() if len(distances) else 1.0
    return min(nearest, 1.0)


def draw_windows(
    draws: torch.Tensor, area: tuple[float, float], *, flips: bool, turns: Turns, radius: float | None
) -> torch.Tensor:
    """Return where the pixels of each view come from.

    Where images have a circular mask, a view is what a smaller circle within it shows: turned by any angle, it never
    holds a piece of the border, and so does not tell where in the image it was.

    Args:
        draws: float (N, 6), uniform in 0..1.
        area: the least and the greatest share of the image's area (with a mask: of its disc's) that a view shows.
        flips: show half of the views in a mirror.
        turns: by which angles; without a mask, ``"any"`` is by quarter turns.
        radius: of the disc that images show, as [disc_radius][sslkit.data.views.windows.disc_radius] gives it; None:
            there is no mask.

    Returns:
        float (N, 2, 3): affine maps from x and y in the view to x and y in the image, both in -1..1.
    """
    size, ratio, across, down, turn, flip = draws.unbind(dim=1)
    smallest, largest = area
    share = smallest + (largest - smallest) * size
    if radius is None:
        width = share.sqrt() * _WIDEST ** (ratio - 0.5)
        # Neither side leaves the image, and the share stays what was drawn: nearly the whole is nearly square.
        width = torch.minimum(torch.maximum(width, share), torch.ones_like(width))
        height = share / width
        centre = torch.stack([(1 - width) * (2 * across - 1), (1 - height) * (2 * down - 1)], dim=1)
    else:
        width = height = share.sqrt()
        distance = radius * (1 - width) * across.sqrt()
        angle = 2 * math.pi * down
        centre = torch.stack([distance * angle.cos(), distance * angle.sin()], dim=1)
    linear = torch.stack([width, height], dim=1).unsqueeze(2) * _turned(turn, turns, any_angle=radius is not None)
    if flips:
        mirror = torch.where(flip < 0.5, -1.0, 1.0)
        linear = linear * torch.stack([mirror, torch.ones_like(mirror)], dim=1).unsqueeze(1)
    return torch.cat([linear, centre.unsqueeze(2)], dim=2)


def look_through(images: torch.Tensor, windows: torch.Tensor, size: int) -> torch.Tensor:
    """Return what windows show of images, by bilinear interpolation.

    Args:
        images: float (N, C, H, W).
        windows: float (V N, 2, 3), from [draw_windows][sslkit.data.views.windows.draw_windows]; row V i + v is of
            image i.
        size: side of what is returned, in pixels.

    Returns:
        float (V N, C, size, size).
    """
    num_images, channels = images.shape[:2]
    num_views = len(windows) // num_images
    places = _places(windows, size).reshape(num_images, num_views * size, size, 2)
    # All views of an image in one call, below each other: the image is not copied.
    seen = F.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)
    return seen.view(num_images, channels, num_views, size, size).transpose(1, 2).reshape(-1, channels, size, size)


def _places(windows: torch.Tensor, size: int) -> torch.Tensor:
    """Return where the pixels of views come from: x and y in the image, float (N, size, size, 2).

    It is what torch's affine_grid gives, many times as fast: along a row and along a column, places add up.
    """
    centres = (2 * torch.arange(size) + 1) / size - 1
    along_row = windows[:, :, 0, None] * centres
    along_column = windows[:, :, 1, None] * centres + windows[:, :, 2, None]
    return along_row.transpose(1, 2).unsqueeze(1) + along_column.transpose(1, 2).unsqueeze(2)


def _turned(draws: torch.Tensor, turns: Turns, *, any_angle: bool) -> torch.Tensor:
    """Return turns as matrices, float (N, 2, 2), of draws in 0..1."""
    if turns == "none":
        return torch.eye(2).expand(len(draws), 2, 2)
    if turns == "any" and any_angle:
        angle = 2 * math.pi * draws
        cos, sin = angle.cos(), angle.sin()
    else:
        quarters = (4 * draws).long().clamp(max=3)
        cos, sin = torch.tensor([1.0, 0.0, -1.0, 0.0])[quarters], torch.tensor([0.0, 1.0, 0.0, -1.0])[quarters]
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
