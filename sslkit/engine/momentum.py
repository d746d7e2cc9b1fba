"""Momentum copies of networks: slow followers that give targets."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def momentum_copy(module: ModuleT) -> ModuleT:
    """Return a copy of a module that no optimiser trains; [follow][sslkit.follow] moves it.

    Args:
        module: what is to be followed.

    Example:
        >>> copied = momentum_copy(nn.Linear(2, 1))
        >>> copied.weight.requires_grad
        False
    """
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(copied: nn.Module, module: nn.Module, momentum: float) -> None:
    """Move a momentum copy towards its module: each parameter to ``momentum * copy + (1 - momentum) * module``.

    He et al. 2020, arXiv 1911.05722, equation 2. Buffers, BatchNorm's statistics for example, are the copy's own.

    Args:
        copied: what [momentum_copy][sslkit.momentum_copy] returned; changed in place.
        module: what it follows.
        momentum: in 0..1; 1 leaves the copy where it is.

    Example:
        >>> module = nn.Linear(1, 1, bias=False)
        >>> copied = momentum_copy(module)
        >>> _ = nn.init.zeros_(copied.weight), nn.init.ones_(module.weight)
        >>> follow(copied, module, momentum=0.75)
        >>> copied.weight.item()
        0.25
    """
    torch._foreach_lerp_(list(copied.parameters()), list(module.parameters()), 1 - momentum)


def rising_momentum(first: float, progress: float) -> float:
    """Return the momentum at a point of the training: from ``first`` to 1 by half a cosine.

    Grill et al. 2020, arXiv 2006.07733, section 3.2: ``1 - (1 - first) (cos(pi progress) + 1) / 2``.

    Args:
        first: momentum at the beginning, in 0..1.
        progress: in 0..1.

    Example:
        >>> [round(rising_momentum(0.99, progress), 4) for progress in (0.0, 0.5, 1.0)]
        [0.99, 0.995, 1.0]
    """
    return 1 - (1 - first) * (math.cos(math.pi * progress) + 1) / 2
