"""The one training loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from sslkit.engine.optimisation import learning_rate_factor
from sslkit.engine.seeding import derive_seed
from sslkit.errors import TrainingDivergedError
from sslkit.types import StepOutput


@dataclass(frozen=True)
class Schedule:
    """A phase of training.

    Attributes:
        num_updates: its length.
        learning_rate: the peak of its learning rate.
        warmup: share of the phase over which the rate rises.
    """

    num_updates: int
    learning_rate: float
    warmup: float

    def rate(self, update: int) -> float:
        """Return the learning rate at an update."""
        return self.learning_rate * learning_rate_factor(update, self.num_updates, self.warmup)


def train(
    step: Callable[[int], StepOutput],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    seed: Sequence[int | str],
    scaler: torch.amp.GradScaler | None = None,
    first_update: int = 0,
    on_update: Callable[[int, StepOutput], None] = lambda update, output: None,
) -> None:
    """Minimise a loss, without waiting for an accelerator at any update.

    Args:
        step: computes the loss of an update, given its number.
        optimizer: moves the parameters.
        schedule: the learning rate.
        seed: names the draws of dropout and the like: torch's global generator is seeded by it and the update.
        scaler: keeps the gradients within the range of fp16; None: none is needed.
        first_update: where to go on after a checkpoint.
        on_update: called after each update with its number and output.

    Raises:
        TrainingDivergedError: if a loss is not finite; the parameters are those before that update. On an accelerator
            it is raised one update later, since asking at once would hold up the queue of work.
    """
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    unchecked: deque[tuple[int, torch.Tensor]] = deque()
    for update in range(first_update, schedule.num_updates):
        rate = schedule.rate(update)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(derive_seed(*seed, "update", update))
        output = step(update)
        loss = output.loss.detach()
        unchecked.append((update, loss))
        if loss.device.type == "cpu" or len(unchecked) > 1:
            _check_finite(*unchecked.popleft(), schedule)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(output.loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        scaler.step(optimizer)
        scaler.update()
        on_update(update, output)
    for update, loss in unchecked:
        _check_finite(update, loss, schedule)
    if scaler.is_enabled() and scaler.get_scale() < 1:  # halved at each update that was left out
        raise TrainingDivergedError("the gradients overflow in fp16 at any scale; set compute.precision='fp32'")


def _check_finite(update: int, loss: torch.Tensor, schedule: Schedule) -> None:
    if not torch.isfinite(loss):
        raise TrainingDivergedError(
            f"the loss is {loss.item()} at update {update + 1} of {schedule.num_updates}, learning rate "
            f"{schedule.rate(update):.2g}; try a lower learning rate, a longer warm-up, or compute.precision='fp32'"
        )
