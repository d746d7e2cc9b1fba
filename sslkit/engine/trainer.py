"""The one training loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

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
        setting: what to lower where it diverges: the learning rate's key in the configuration.
    """

    num_updates: int
    learning_rate: float
    warmup: float
    setting: str = "learning rate"

    def rate(self, update: int) -> float:
        """Return the learning rate at an update."""
        return self.learning_rate * learning_rate_factor(update, self.num_updates, self.warmup)

    def diverged(self, what: str, update: int, cause: str = "") -> TrainingDivergedError:
        """Return the error of a phase that has diverged: what was seen at which update, and what to try."""
        return TrainingDivergedError(
            f"{what} update {update + 1} of {self.num_updates}, learning rate {self.rate(update):.2g}{cause}; "
            f"try a lower {self.setting}, a longer warm-up, or compute.precision='fp32'"
        )


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
            it is raised one update later, since asking at once would hold up the queue of work. What the last update
            did to the weights is for [check_update][sslkit.engine.trainer.check_update] to see.
    """
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    unchecked: deque[tuple[int, torch.Tensor]] = deque()
    for update in range(first_update, schedule.num_updates):
        rate = schedule.rate(update)
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(derive_seed(*seed, "update", update))
        output = step(update)
        loss = output.loss.detach()
        unchecked.append((update, loss))
        if loss.device.type == "cpu":
            _check_loss(*unchecked.popleft(), schedule, parameters)  # the gradients are still the update before's
        elif len(unchecked) > 1:
            _check_loss(*unchecked.popleft(), schedule)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(output.loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        scaler.step(optimizer)
        scaler.update()
        on_update(update, output)
    for update, loss in unchecked:
        _check_loss(update, loss, schedule)
    if scaler.is_enabled() and scaler.get_scale() < 1:  # halved at each update that was left out
        raise TrainingDivergedError("the gradients overflow in fp16 at any scale; set compute.precision='fp32'")


def check_update(update: int, loss: torch.Tensor, modules: Iterable[nn.Module], schedule: Schedule) -> None:
    """Refuse what an update has come to, on an accelerator by waiting for it: its loss, and the weights that it left.

    The statistics of BatchNorm count among the weights.

    Raises:
        TrainingDivergedError: naming what is not finite, the update, the learning rate and what to try.
    """
    _check_loss(update, loss, schedule)
    modules = list(modules)
    ruined = [name for module in modules for name, weight in _weights(module) if not weight.isfinite().all()]
    if ruined:
        more = f" and {len(ruined) - 1} more" if len(ruined) > 1 else ""
        by_gradients = _gradients_ruined(weight for module in modules for weight in module.parameters())
        cause = ", since its gradients were not finite though its loss was" if by_gradients else ""
        raise schedule.diverged(f"the weights {ruined[0]}{more} are not finite after", update, cause)


def _weights(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
            yield from layer.named_buffers(name)


def _check_loss(update: int, loss: torch.Tensor, schedule: Schedule, parameters: Iterable[nn.Parameter] = ()) -> None:
    if torch.isfinite(loss):
        return
    by_gradients = _gradients_ruined(parameters)
    cause = f", since the gradients of update {update} were not finite though its loss was" if by_gradients else ""
    raise schedule.diverged(f"the loss is {loss.item()} at", update, cause)


def _gradients_ruined(parameters: Iterable[nn.Parameter]) -> bool:
    """Return whether gradients that were not finite made weights so: those that fp16's scaler kept off did not."""
    return any(
        weight.grad is not None and not weight.grad.isfinite().all() and not weight.isfinite().all()
        for weight in parameters
    )
