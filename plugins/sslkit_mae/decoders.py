"""From what an encoder makes of an image that is partly hidden, to the pixels that are missing."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from sslkit_mae.patches import patchify

_HEAD_WIDTH = 32


def sincos_positions(rows: int, columns: int, width: int) -> torch.Tensor:
    """Return fixed positions on a grid: sines and cosines of row and column (Vaswani et al. 2017, arXiv 1706.03762).

    Args:
        rows: of the grid.
        columns: of the grid.
        width: D, a multiple of four.

    Returns:
        float32 (rows * columns, D), row by row: of the row in the first half, of the column in the second.

    Example:
        >>> sincos_positions(1, 2, 4).mul(100).round().tolist()
        [[0.0, 100.0, 0.0, 100.0], [0.0, 100.0, 84.0, 54.0]]
    """
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    places = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * frequencies for place in places]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).float()


class TokenDecoder(nn.Module):
    """A small transformer that is told what was seen and where, and says what is at the hidden places.

    Args:
        encoder_width: of the encoder's tokens.
        grid: rows and columns of patches.
        width: of the decoder's own tokens, a multiple of 32: a head of attention has 32.
        depth: number of its blocks.
        num_pixels: values of a patch.

    Example:
        >>> decoder = TokenDecoder(64, (4, 4), width=32, depth=1, num_pixels=48)
        >>> seen, hidden = torch.tensor([[0, 5, 7]]), torch.tensor([[1, 2]])
        >>> decoder(torch.zeros(1, 1 + 3, 64), seen, hidden).shape
        torch.Size([1, 2, 48])
    """

    positions: torch.Tensor

    def __init__(self, encoder_width: int, grid: tuple[int, int], width: int, depth: int, num_pixels: int) -> None:
        super().__init__()
        self.register_buffer("positions", sincos_positions(*grid, width), persistent=False)
        self.embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, width // _HEAD_WIDTH, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, num_pixels)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, encoded: torch.Tensor, seen: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Return what is at the hidden places, (N, M, num_pixels).

        Args:
            encoded: prefix tokens and those of the patches that were seen, (N, P + V, C).
            seen: their places, int64 (N, V).
            hidden: the places that are asked for, int64 (N, M).
        """
        tokens = self.embed(encoded)
        num_prefix = tokens.shape[1] - seen.shape[1]
        # Attention does not know of order: the tokens need their positions, not their places in the row.
        asked = self.mask_token + self.positions[hidden]
        known = tokens[:, num_prefix:] + self.positions[seen]
        tokens = self.norm(self.blocks(torch.cat([tokens[:, :num_prefix], known, asked], dim=1)))
        predicted: torch.Tensor = self.pixels(tokens[:, -hidden.shape[1] :])
        return predicted


class LinearDecoder(nn.Module):
    """One linear layer from each place of a feature map to the pixels that it stands for (SimMIM, section 3.3).

    Args:
        map_shape: channels, height and width of the map.
        size: side of the images in pixels.
        patch: side of the hidden patches in pixels.

    Example:
        >>> LinearDecoder((512, 2, 2), size=64, patch=8)(torch.zeros(1, 512, 2, 2), torch.tensor([[0, 63]])).shape
        torch.Size([1, 2, 192])
    """

    def __init__(self, map_shape: tuple[int, int, int], size: int, patch: int) -> None:
        super().__init__()
        channels, *sides = map_shape
        self.stride = -(-size // min(sides))
        self.size, self.patch = size, patch
        self.pixels = nn.Conv2d(channels, 3 * self.stride**2, 1)

    def forward(self, features: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Return what is at the hidden places, int64 (N, M), of a map (N, C, H', W'): (N, M, 3 * patch * patch)."""
        images = F.pixel_shuffle(self.pixels(features), self.stride)[:, :, : self.size, : self.size]
        return at_places(patchify(images, self.patch), hidden)


def at_places(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the rows of each image, of (N, T, C), that are at its places, int64 (N, V): (N, V, C).

    Example:
        >>> at_places(torch.tensor([[[1], [2], [3]]]), torch.tensor([[2, 0]])).tolist()
        [[[3], [1]]]
    """
    return rows.gather(1, places.unsqueeze(2).expand(-1, -1, rows.shape[2]))
