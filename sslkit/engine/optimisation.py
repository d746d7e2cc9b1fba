"""AdamW, and the learning rate over a phase of training."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn


def make_optimizer(modules: Iterable[nn.Module], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101) over all parameters that ask for a gradient.

    Biases and the scales and shifts of normalisation, which have one axis, are not decayed.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate, fused=fused)


def learning_rate_factor(update: int, num_updates: int, warmup: float) -> float:
    """Return the share of the peak learning rate at an update: a linear rise, then half a cosine down to zero.

    Args:
        update: 0 to ``num_updates - 1``.
        num_updates: length of the phase.
        warmup: share of the phase over which the rate rises.

    Example:
        >>> [round(learning_rate_factor(u, 4, 0.25), 2) for u in range(4)]
        [1.0, 1.0, 0.75, 0.25]
    """
    rise = math.ceil(warmup * num_updates)
    if update < rise:
        return (update + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (update - rise) / max(num_updates - rise, 1)))
