"""From a backbone's feature map to a value at every place of an image."""

from __future__ import annotations

import torch
from torch import nn

_WIDEST = 128


class MapDecoder(nn.Module):
    """Doubles a map's side until it is that of the targets, with a convolution after each step.

    A step repeats the nearest neighbour, since the gradient of interpolation is not deterministic on a GPU; then come a
    3 x 3 convolution, BatchNorm and ReLU. The first step has 128 channels, each further one half of those before it,
    but ``narrowest`` at least: so full size is not dear. Of each place, a 1 x 1 convolution makes the values.

    Args:
        map_shape: channels, height and width of the feature map, from
            [feature_map_shape][sslkit.feature_map_shape].
        channels: of the targets.
        side: of the square targets; it may be smaller than the map's, too, and there is one step at least.
        narrowest: channels that a step has at least, 1 to 128; with 128 all are alike.

    Example:
        >>> MapDecoder((512, 7, 7), channels=3, side=56)(torch.zeros(2, 512, 7, 7)).shape
        torch.Size([2, 3, 56, 56])
    """

    def __init__(self, map_shape: tuple[int, int, int], channels: int, side: int, *, narrowest: int = 32) -> None:
        super().__init__()
        width, *sides = map_shape
        following, blocks = _WIDEST, []
        for size in _doubled(max(sides), side):
            blocks.append(_block(width, following, size))
            width, following = following, max(following // 2, narrowest)
        self.blocks = nn.Sequential(*blocks)
        self.values = nn.Conv2d(width, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features, float (N, C, H', W'), to values, (N, channels, side, side)."""
        values: torch.Tensor = self.values(self.blocks(features))
        return values


def _doubled(first: int, last: int) -> list[int]:
    """Return the sides that a map has on its way from one size to another, without the first."""
    sides = []
    while 2 * first < last:
        first *= 2
        sides.append(first)
    return [*sides, last]


def _block(channels: int, width: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample((side, side), mode="nearest"),
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
