"""BatchNorm whose statistics are those of the batches of all processes.

Ioffe and Szegedy 2015, arXiv 1502.03167, of the batch of the whole pretraining: what a network computes then depends on
the number of processes by rounding alone. torch has such a layer for CUDA only, and it takes the place of a layer; what
timm's layers do beside normalising would be lost. Here a layer stays what it is, with its names, and only its call of
``batch_norm`` is another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from sslkit.engine.distributed.connection import lost_another, num_processes


def synchronise_batch_norm(module: nn.Module) -> None:
    """Let every BatchNorm layer in a module take the statistics of all processes while it is in training mode.

    Names, parameters, buffers and running statistics are as they were. Layers that normalise over a batch without being
    a BatchNorm of torch, or a subclass of one that calls ``torch.nn.functional.batch_norm``, are left alone.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        >>> synchronise_batch_norm(network)
        >>> isinstance(network[1], nn.BatchNorm1d), list(network[1].state_dict())[:2]
        (True, ['weight', 'bias'])
    """
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and not isinstance(layer, _Synchronised):
            layer.__class__ = _synchronised(type(layer))  # type: ignore[assignment, arg-type]  # a module is hashable


class _Synchronised(nn.Module):
    """What stands before the class of a layer."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # collectives are no part of a graph
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or num_processes() == 1:
            alone: torch.Tensor = super().forward(x)
            return alone
        with _OverAllProcesses():
            together: torch.Tensor = super().forward(x)
            return together


@cache
def _synchronised(cls: type[nn.Module]) -> type[nn.Module]:
    return type(f"Synchronised{cls.__name__}", (_Synchronised, cls), {})


class _OverAllProcesses(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return (batch_norm_together if func is F.batch_norm else func)(*args, **(kwargs or {}))


def batch_norm_together(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Do as ``torch.nn.functional.batch_norm`` does, with the mean and variance of the batches of all processes.

    Args:
        x: float (N, C, ...), as in every process.
        running_mean: (C,), moved in place; or None.
        running_var: (C,), moved in place, by the variance without bias; or None.
        weight: (C,) or None.
        bias: (C,) or None.
        training: where False, the running statistics are used, and nothing is sent.
        momentum: of the running statistics.
        eps: added to the variance.
    """
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if x.is_cuda:
        from torch.nn.modules._functions import SyncBatchNorm

        group = distributed.group.WORLD
        of_cuda: torch.Tensor = SyncBatchNorm.apply(
            x, weight, bias, running_mean, running_var, eps, momentum, group, num_processes()
        )
        return of_cuda
    normalised: torch.Tensor = _BatchNormTogether.apply(x, weight, bias, running_mean, running_var, momentum, eps)
    return normalised


class _BatchNormTogether(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        momentum: float,
        eps: float,
    ) -> torch.Tensor:
        mean, variance, count = _statistics(x, running_mean, running_var)
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean, momentum)
            running_var.mul_(1 - momentum).add_(variance, alpha=momentum * count / (count - 1))
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.count = eps, count
        return torch.batch_norm(x, weight, bias, mean, variance, False, 0.0, eps, False)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        x, weight, mean, variance = ctx.saved_tensors
        # As if the statistics were constants, together with the two sums by which they are none.
        scaled, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0].contiguous(memory_format=_layout(x)),
            x,
            torch.ones_like(mean) if weight is None else weight,
            mean,
            variance,
            None,
            None,
            False,
            ctx.eps,
            [True, True, True],
        )
        at_weight, at_bias = _summed(torch.stack([of_weight, of_bias]))
        share = (variance + ctx.eps).rsqrt_().div_(-ctx.count)
        if weight is not None:
            share *= weight
        at_weight *= share
        at_bias *= share
        # What is taken off is, in each channel, a straight line of x: batch_norm is the kernel that computes lines.
        scaled += torch.batch_norm(x, at_weight, at_bias, mean, variance, False, 0.0, ctx.eps, False)
        return scaled, None if weight is None else of_weight, None if weight is None else of_bias, *[None] * 4


def _statistics(
    x: torch.Tensor, running_mean: torch.Tensor | None, running_var: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return the mean and the variance with bias, (C,), over the batches of all processes, and how many values."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    if running_mean is None or running_var is None:
        running_mean, running_var = x.new_zeros(2, x.shape[1], dtype=dtype)
    # Of numbers in half precision the kernel makes statistics in that of the running ones, which a momentum of 0 keeps.
    own = torch.batch_norm_update_stats(x, running_mean, running_var, 0.0)
    # In double precision the mean square less the square of the mean is as good as any formula for single numbers.
    moments = torch.stack(own).double()
    moments[1].addcmul_(moments[0], moments[0])
    moments = _summed(moments).div_(num_processes())
    moments[1].addcmul_(moments[0], moments[0], value=-1).clamp_(min=0)
    mean, variance = moments.to(dtype)
    return mean, variance, x.numel() // x.shape[1] * num_processes()


def _summed(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of contiguous values over the processes, in their order; called hundreds of times an update.

    Of so few numbers gloo gathers those of all in half the time in which it sums them.
    """
    first, *others = (torch.empty_like(values) for _ in range(num_processes()))
    try:
        distributed.group.WORLD.allgather([[first, *others]], [values]).wait()  # type: ignore[union-attr]  # it is there
    except RuntimeError as error:
        raise lost_another(error) from error
    for other in others:
        first += other
    return first


def _layout(x: torch.Tensor) -> torch.memory_format:
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format
