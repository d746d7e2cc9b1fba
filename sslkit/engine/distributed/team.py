"""The processes that carry out one pretraining together, as each of them sees it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sslkit.engine.distributed.connection import connection, num_processes
from sslkit.types import StepOutput, Views

_BUFFERS_LEFT_ALONE: dict[str, Any] = (
    {"forward_sync_buffers": False}  # as newer versions of torch call it
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else {"broadcast_buffers": False}
)


@dataclass(frozen=True)
class Team:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0; the first leads: it alone writes, probes and tells of progress.
        size: how many they are.

    Example:
        >>> Team.present()
        Team(rank=0, size=1)
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def present(cls) -> Team:
        """Return the team of this process; without others, it is one of its own."""
        size = num_processes()
        return cls(distributed.get_rank(), size) if size > 1 else cls()

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def own_seed(self, *seed: int | str) -> tuple[int | str, ...]:
        """Return a seed for what each process draws for itself, dropout say; the first's is that of one alone."""
        return seed if self.leads else (*seed, "process", self.rank)

    def parallel(self, task: nn.Module) -> nn.Module:
        """Return a task whose gradients become the mean over the processes; its buffers stay each process's own.

        They have to be moved alike in all: torch would overwrite a queue or a centre with the first's. Weights that
        a loss does not reach, as a vision transformer's class token may be, are looked for at every update, since they
        may be others by then: prototypes are held for a while.
        """
        if self.size == 1:
            return task
        return DistributedDataParallel(
            _WithSpare(task), **_BUFFERS_LEFT_ALONE, find_unused_parameters=True, gradient_as_bucket_view=True
        )

    def averaged(self, output: StepOutput) -> StepOutput:
        """Return an output whose loss and metrics are the means over the processes; its gradient is this one's part.

        So all processes see a loss that is not finite at the same update.
        """
        if self.size == 1:
            return output
        values = [output.loss.detach(), *output.metrics.values()]
        dtype = torch.float64 if any(value.dtype == torch.float64 for value in values) else torch.float32
        means = torch.stack([value.to(dtype) for value in values])
        with connection():
            distributed.all_reduce(means)
        means /= self.size
        metrics = dict(zip(output.metrics, means[1:].unbind(), strict=True))
        return replace(output, loss=_Valued.apply(output.loss, means[0]), metrics=metrics)

    def raise_together(self, check: Callable[[], Any], error: type[Exception]) -> None:
        """Call something that may raise an error of a kind, and raise it in every process where one process has."""
        if self.size == 1:
            check()
            return
        raised: Exception | None = None
        try:
            check()
        except error as caught:
            raised = caught
        everywhere: list[Exception | None] = [None] * self.size
        with connection():
            distributed.all_gather_object(everywhere, raised)
        first = raised or next((other for other in everywhere if other is not None), None)
        if first is not None:
            raise first

    def agree(self, value: Any) -> bool:
        """Return whether all processes hold the same plain value; none goes on before all have come here."""
        if self.size == 1:
            return True
        everywhere: list[Any] = [None] * self.size
        with connection():
            distributed.all_gather_object(everywhere, value)
        return all(other == value for other in everywhere)

    def told(self, value: bool) -> bool:
        """Return in every process what the first of them says."""
        if self.size == 1:
            return value
        flag = torch.tensor([float(value)])
        with connection():
            distributed.broadcast(flag, 0)
        return bool(flag.item())


class _Valued(torch.autograd.Function):
    """A loss of another value, with the same gradient."""

    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value.to(loss.dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0], None


class _WithSpare(nn.Module):
    """A task beside a weight that no loss reaches: where there is none, torch writes to the terminal that it looked."""

    def __init__(self, task: nn.Module) -> None:
        super().__init__()
        self.task = task
        self.spare = nn.Parameter(next(task.parameters()).new_zeros(1))

    def forward(self, views: Views) -> Any:
        return self.task(views)
