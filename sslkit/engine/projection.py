"""The small network between representations and a loss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn


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
        >>> import torch
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
