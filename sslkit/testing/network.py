"""A network small enough to try pretext tasks on, with what is awkward about the larger ones."""

from __future__ import annotations

import itertools

import torch
from torch import nn

SMALLEST_IMAGE = 8
"""Pixels a side that it needs: it halves its input three times."""


class TinyNetwork(nn.Module):
    """Three strided convolutions with BatchNorm, and a pooled linear layer: it quacks as a timm model does.

    The width of its representation differs from the number of channels of its map, as in MobileNetV3.

    Example:
        >>> network = TinyNetwork()
        >>> features = network.forward_features(torch.zeros(2, 3, 32, 32))
        >>> features.shape, network.forward_head(features, pre_logits=True).shape
        (torch.Size([2, 32, 4, 4]), torch.Size([2, 48]))
    """

    num_features = 32
    head_hidden_size = 48

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, self.num_features)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU())
                for before, after in itertools.pairwise(widths)
            )
        )
        self.projection = nn.Linear(self.num_features, self.head_hidden_size)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised images, float (N, 3, H, W), to their last map, (N, 32, H / 8, W / 8)."""
        features: torch.Tensor = self.stages(x)
        return features

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Map the last map to the representation, (N, 48)."""
        h: torch.Tensor = self.projection(x.mean((2, 3)))
        return h

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised images to the representation."""
        return self.forward_head(self.forward_features(x))
