"""From a backbone's feature map to how salient every square is."""

from __future__ import annotations

import torch
from torch import nn

_WIDEST, _NARROWEST = 128, 32


class Decoder(nn.Module):
    """Doubles a map's side until it is that of the targets, with a convolution after each step.

    The first has 128 channels, each further one half of those before it, and 32 at least. Nearest neighbours are
    repeated rather than interpolated, since the gradient of interpolation is not deterministic on a GPU.

    Args:
        map_shape: channels, height and width of the feature map.
        side: of the square target.

    Example:
        >>> Decoder((512, 7, 7), side=56)(torch.zeros(2, 512, 7, 7)).shape
        torch.Size([2, 56, 56])
    """

    def __init__(self, map_shape: tuple[int, int, int], side: int) -> None:
        super().__init__()
        channels, *sides = map_shape
        width, blocks = _WIDEST, []
        for size in _doubled(max(sides), side):
            blocks.append(_block(channels, width, size))
            channels, width = width, max(width // 2, _NARROWEST)
        self.blocks = nn.Sequential(*blocks)
        self.saliency = nn.Conv2d(channels, 1, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (N, C, H', W') to logits (N, side, side)."""
        logits: torch.Tensor = self.saliency(self.blocks(features))
        return logits.squeeze(1)


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
