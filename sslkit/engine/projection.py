"""The small network between representations and a loss, and how far what it gives is spread."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from sslkit.engine.distributed import gather


def make_projector(widths: Sequence[int], *, last_norm: bool = False) -> nn.Sequential:
    """Return a projection head: linear layers, with BatchNorm and ReLU after each but the last.

    Args:
        widths: of what comes in, of each layer between, and of what goes out.
        last_norm: put BatchNorm after the last layer, too, without scale and shift.

    Returns:
        A module from (N, widths[0]) to (N, widths[-1]). A layer before BatchNorm has no bias. In training mode it needs
        two rows at least.

    Raises:
        ValueError: if there are fewer than two widths.

    Example:
        >>> make_projector([512, 512, 128])(torch.zeros(4, 512)).shape
        torch.Size([4, 128])
    """
    if len(widths) < 2:
        raise ValueError(f"a projection head needs the widths of what comes in and goes out, not {list(widths)}")
    *before, last = widths
    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(before):
        layers += [nn.Linear(width, following, bias=False), nn.BatchNorm1d(following), nn.ReLU(inplace=True)]
    layers.append(nn.Linear(before[-1], last, bias=not last_norm))
    if last_norm:
        layers.append(nn.BatchNorm1d(last, affine=False))
    return nn.Sequential(*layers)


def projection_spread(z: torch.Tensor) -> torch.Tensor:
    """Return how far the directions of projections lie apart, from 0 (one direction) to 1 (none is preferred).

    Chen and He 2021, arXiv 2011.10566, section 4.1: the standard deviation of the l2-normalised projection in each
    dimension, by the root of its mean square over dimensions, times the root of D.

    Args:
        z: projections, float (N, D), of any dtype; no gradient goes through them. Where several processes train
            together, those of all of them count.

    Returns:
        0-d float32, detached.

    Example:
        >>> projection_spread(torch.ones(4, 3)).item(), projection_spread(torch.tensor([[2.0], [-1.0]])).item()
        (0.0, 1.0)
    """
    with torch.autocast(z.device.type, enabled=False):
        return F.normalize(gather(z.detach()).float(), dim=1).var(dim=0, correction=0).sum().sqrt()
