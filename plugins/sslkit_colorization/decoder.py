"""From a backbone's feature map to a distribution of colours at every place."""

from __future__ import annotations

import torch
from torch import nn

_WIDTH = 128


class Decoder(nn.Module):
    """Doubles a map's side until it is that of the targets, with a convolution after each step.

    Nearest neighbours are repeated rather than interpolated, since the gradient of interpolation is not deterministic
    on a GPU.

    Args:
        map_shape: channels, height and width of the feature map.
        num_bins: how many colours there are to tell apart.
        side: of the square target.

    Example:
        >>> Decoder((512, 7, 7), num_bins=261, side=56)(torch.zeros(2, 512, 7, 7)).shape
        torch.Size([2, 261, 56, 56])
    """

    def __init__(self, map_shape: tuple[int, int, int], num_bins: int, side: int) -> None:
        super().__init__()
        channels, *sides = map_shape
        blocks = []
        for size in _doubled(max(sides), side):
            blocks.append(_block(channels, size))
            channels = _WIDTH
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Conv2d(channels, num_bins, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (N, C, H', W') to logits (N, Q, side, side)."""
        logits: torch.Tensor = self.classifier(self.blocks(features))
        return logits


def _doubled(first: int, last: int) -> list[int]:
    """Return the sides that a map has on its way from one size to another, without the first."""
    sides = []
    while 2 * first < last:
        first *= 2
        sides.append(first)
    return [*sides, last]


def _block(channels: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample((side, side), mode="nearest"),
        nn.Conv2d(channels, _WIDTH, 3, padding=1, bias=False),
        nn.BatchNorm2d(_WIDTH),
        nn.ReLU(),
    )
