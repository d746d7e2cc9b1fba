"""Colours as classes: the ab plane in bins, colours spread over bins, and the way back.

Zhang, Isola and Efros 2016, arXiv 1603.08511, sections 2.1 to 2.3.
"""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional as F

from sslkit import lab_of

NUM_NEAREST = 5


@cache
def bins_in_gamut(bin_size: int) -> torch.Tensor:
    """Return the bins of a square grid on the ab plane that some colour of sRGB is nearest to.

    The colours on the six faces of the RGB cube tell all of them: one within it, made lighter without a change of a
    and b, comes to a face. With ``bin_size = 10`` there are 261. The paper has 313, from a list that its authors
    publish and do not derive.

    Args:
        bin_size: the grid's spacing, in units of L*a*b*.

    Returns:
        The bins' centres (a, b), float32 (Q, 2), in ascending order. Shared: not to be changed.

    Example:
        >>> bins_in_gamut(10).shape
        torch.Size([261, 2])
    """
    codes = torch.arange(256, dtype=torch.uint8)
    u, v = torch.meshgrid(codes, codes, indexing="ij")
    ends = (torch.zeros_like(u), torch.full_like(u, 255))
    faces = [torch.stack(face) for end in ends for face in ((end, u, v), (u, end, v), (u, v, end))]
    # In float64, so that no machine's rounding decides on a bin at the edge.
    ab = lab_of(torch.stack(faces), torch.float64)[:, 1:].transpose(0, 1).flatten(1).T
    occupied: torch.Tensor = torch.unique((ab / bin_size).round(), dim=0)
    return bin_size * occupied.float()


def nearest_bins(ab: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Return the bin that each colour is nearest to.

    Args:
        ab: float (N, 2, H, W).
        bins: centres, float (Q, 2).

    Returns:
        int64 (N, H, W), in 0..Q-1.
    """
    return _squared_distances(ab, bins).argmin(dim=-1)


def soft_encode(ab: torch.Tensor, bins: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Spread each colour over its five nearest bins, by a Gaussian kernel of the distance (section 2.1).

    Args:
        ab: float (N, 2, H, W).
        bins: centres, float (Q, 2), with Q at least five.
        sigma: the kernel's standard deviation, in units of L*a*b*.

    Returns:
        The bins, int64 (N, 5, H, W), nearest first, and their shares, float (N, 5, H, W), which sum to one. As a
        distribution over all bins this is the paper's Z.

    Example:
        >>> bins = torch.tensor([[-10.0, 0], [0, 0], [10, 0], [20, 0], [30, 0], [40, 0]])
        >>> nearest, shares = soft_encode(torch.tensor([4.0, 0]).view(1, 2, 1, 1), bins, sigma=5)
        >>> nearest.flatten().tolist()
        [1, 2, 0, 3, 4]
        >>> [round(share, 3) for share in shares.flatten().tolist()]
        [0.586, 0.393, 0.016, 0.005, 0.0]
    """
    squared, nearest = _squared_distances(ab, bins).topk(NUM_NEAREST, dim=-1, largest=False)
    shares = (-squared / (2 * sigma**2)).softmax(dim=-1)
    return nearest.movedim(-1, 1), shares.movedim(-1, 1)


def smoothed(frequencies: torch.Tensor, bins: torch.Tensor, sigma: float) -> torch.Tensor:
    """Smooth a distribution over bins by a Gaussian kernel: each bin's share is spread over the bins around it.

    Args:
        frequencies: float (Q,), summing to one.
        bins: centres, float (Q, 2).
        sigma: the kernel's standard deviation, in units of L*a*b*.

    Returns:
        The distribution p~ of equation 4, float (Q,), summing to one.
    """
    squared = (bins[:, None] - bins).square().sum(dim=-1)
    spread = (-squared / (2 * sigma**2)).softmax(dim=1)
    return frequencies @ spread


def rebalancing_weights(prior: torch.Tensor, mixing: float) -> torch.Tensor:
    """Return the weights that let rare colours count (equation 4): w ~ 1 / ((1 - mixing) prior + mixing / Q).

    Args:
        prior: p~, the smoothed distribution of colours, float (Q,).
        mixing: lambda, in 0..1: the share of the uniform distribution; at 1 all weights are one.

    Returns:
        float (Q,), whose mean under the prior is one.

    Example:
        >>> rebalancing_weights(torch.tensor([0.75, 0.25]), mixing=0.5).tolist()
        [0.8571..., 1.4285...]
    """
    weights = 1 / ((1 - mixing) * prior + mixing / len(prior))
    return weights / (prior * weights).sum()


def annealed_mean(logits: torch.Tensor, bins: torch.Tensor, temperature: float = 0.38) -> torch.Tensor:
    """Return one colour for each predicted distribution: its mean, after it has been sharpened (equation 5).

    Args:
        logits: float32 (N, Q, H, W).
        bins: centres, float32 (Q, 2).
        temperature: 1 gives the mean, and towards 0 the mode; the paper has 0.38.

    Returns:
        ab, float32 (N, 2, H, W).

    Example:
        >>> bins = torch.tensor([[0.0, 0.0], [40.0, 20.0]])
        >>> annealed_mean(torch.zeros(1, 2, 1, 1), bins).flatten().tolist()
        [20.0, 10.0]
    """
    return torch.einsum("nqhw,qc->nchw", F.softmax(logits / temperature, dim=1), bins)


def _squared_distances(ab: torch.Tensor, bins: torch.Tensor) -> torch.Tensor:
    """Return those of each colour (N, 2, H, W) from each bin, (N, H, W, Q)."""
    # Not by way of a product of matrices, which would lose digits where it runs in half precision or TF32.
    a, b = ab.unsqueeze(-1).unbind(1)
    return (a - bins[:, 0]).square_().add_((b - bins[:, 1]).square_())
