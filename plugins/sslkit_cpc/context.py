"""The network that sums up what lies above: masked convolutions over the grid of patches."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class RowCausalNetwork(nn.Module):
    """Sums up, at every place of a grid, its own row and the rows above; never one below.

    It is of residual blocks, as the PixelCNN in the appendix of Hénaff et al. 2019, arXiv 1905.09272: in each, a place
    looks at itself, its two neighbours in the row, and the three places above them. After b blocks, b rows above have
    been looked at. There is no normalisation that would mix rows.

    Args:
        width: features of a patch's vector, and of a context.
        num_blocks: of them.

    Example:
        >>> network = RowCausalNetwork(width=8, num_blocks=2)
        >>> network(torch.zeros(2, 8, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    def __init__(self, width: int, num_blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_RowCausalBlock(width) for _ in range(num_blocks))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map the patches' vectors (N, D, R, C) to contexts of the same shape."""
        for block in self.blocks:
            vectors = block(vectors)
        return vectors


class _RowCausalBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.Conv2d(width, width, 1)
        self.window = nn.Conv2d(width, width, (2, 3))
        self.after = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        above = F.pad(self.before(x).relu(), (1, 1, 1, 0))  # left, right, top: the row above and this one, none below
        added: torch.Tensor = self.after(self.window(above).relu())
        return x + added
