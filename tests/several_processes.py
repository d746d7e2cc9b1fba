"""Processes that train one task together, each with its part of a batch, as ``torch.distributed`` joins them."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from forking import warm_context
from torch import distributed, nn
from torch.nn import functional as F

from sslkit import PretextTask, Views, gather, weighted_mean
from sslkit.engine.distributed import synchronise_batch_norm

_PATIENCE = 300
"""Seconds after which processes that wait for each other are given up."""


class PlainNetwork(nn.Module):
    """An encoder in double precision whose images know nothing of each other: it has no BatchNorm."""

    head_hidden_size = 5

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2, dtype=torch.float64)
        self.projection = nn.Linear(4 * 2 * 2, self.head_hidden_size, dtype=torch.float64)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(x.double()).tanh()

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return self.projection(F.adaptive_avg_pool2d(x, 2).flatten(1))


def in_processes(function: Callable[..., Any], count: int, folder: Path, *arguments: Any) -> list[Any]:
    """Return what a function returns in each of several processes that gloo joins; it is told which one it is."""
    context = warm_context()
    processes = [
        context.Process(target=_run, args=(function, rank, count, folder, arguments))  # type: ignore[attr-defined]
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_PATIENCE)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * count, f"the processes ended with {codes}"
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]


def gather_and_differentiate(rank: int, parts: Sequence[torch.Tensor], weights: torch.Tensor) -> Any:
    """Return what is gathered of all parts, and the gradient at this process's of the sum of its weighted squares."""
    part = parts[rank].requires_grad_()
    gathered = gather(part)
    (weights * gathered**2).sum().backward()
    return {"gathered": gathered.detach(), "gradient": part.grad}


def weigh(rank: int, values: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> Any:
    """Return this process's part of a weighted mean, and its gradient at the values."""
    own = values[rank].clone().requires_grad_()
    part = weighted_mean(own, weights[rank])
    part.backward()
    return {"part": part.detach(), "gradient": own.grad}


def normalise(rank: int, layer: nn.Module, parts: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> Any:
    """Return what a BatchNorm layer makes of this process's part in training mode, its state after it and gradients.

    The gradients are those of the sum of the weighted squares.
    """
    layer = copy.deepcopy(layer)
    synchronise_batch_norm(layer)
    own = parts[rank].clone(memory_format=torch.preserve_format).requires_grad_()
    out = layer.train()(own)
    (weights[rank] * out.double() ** 2).sum().backward()
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    if rank:
        layer.eval()(own)  # in evaluation mode no process waits for another
    gradients = [parameter.grad for parameter in layer.parameters()]
    return {"out": out.detach(), "gradient": own.grad, "gradients": gradients, "state": state}


def step(rank: int, task: PretextTask[Any], parts: Sequence[Views]) -> Any:
    """Return the loss, the metrics and the gradients of one update on this process's part, and the state after it."""
    task = copy.deepcopy(task)  # what was sent lies in memory that the processes share
    output = task(parts[rank])
    output.loss.backward()
    task.after_update(output, 0.5)
    gradients = {name: p.grad for name, p in task.named_parameters() if p.grad is not None}
    return {
        "loss": output.loss.detach(),
        "metrics": output.metrics,
        "gradients": gradients,
        "state": dict(task.state_dict()),
    }


def _run(function: Callable[..., Any], rank: int, count: int, folder: Path, arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = distributed.FileStore(str(folder / "store"), count)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=count)
    torch.save(function(rank, *arguments), folder / f"{rank}.pt")
    distributed.destroy_process_group()
