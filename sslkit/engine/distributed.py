"""What the processes of one pretraining know of each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed


def gather(x: torch.Tensor) -> torch.Tensor:
    """Return the rows of all processes that train one task together, and let gradients back to each.

    With it a loss over a batch is that over the batches of all processes: compute it of what is gathered, in every
    process alike. The gradient of a parameter, averaged over the processes, is then that of one process with the whole
    batch.

    Args:
        x: (N, ...), as many rows in each process.

    Returns:
        (P N, ...) with those of process 0 first; ``x`` itself where there is one process.

    Example:
        >>> gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x
    gathered: torch.Tensor = _Gather.apply(x)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        parts = [
            torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(distributed.get_world_size())
        ]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient = gradients[0].contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]
