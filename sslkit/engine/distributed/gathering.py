"""What a loss over a batch needs of the batches of the other processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed

from sslkit.engine.distributed.connection import connection, num_processes


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
    if num_processes() == 1:
        return x
    gathered: torch.Tensor = _Gather.apply(x)
    return gathered


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return a process's part of a weighted mean over the batches of all processes that train one task together.

    For a loss that is a mean over what the data make more or less of: pixels inside a mask, pairs that are hard. A
    process that divided by its own weights would count its images for more or less than those of another. The mean over
    the processes of what is returned, and of its gradient, is that of one process with the whole batch.

    Args:
        values: of any shape.
        weights: of that shape, or one that is expanded to it; 0 or more, and in all processes together not all 0.

    Returns:
        0-d: ``(weights * values).sum() / weights.sum()`` where there is one process.

    Example:
        >>> weighted_mean(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 3.0]))
        tensor(3.2500)
    """
    weights = weights.to(values.dtype)
    total = gather((weights.sum() * (values.numel() // weights.numel())).view(1))
    return (weights * values).sum() / (total.sum() / len(total))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(num_processes())]
        with connection():
            distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        gradient = gradients[0].contiguous().clone()
        with connection():
            distributed.all_reduce(gradient)
        return gradient.chunk(num_processes())[distributed.get_rank()]
