"""Pretext tasks that go wrong in one of several processes, importable by worker processes."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch
from torch import distributed
from torch.nn import functional as F

from sslkit import PluginConfig, PretextTask, StepOutput, Views, normalize, representation


class Uneven(PretextTask[PluginConfig]):
    """Makes the representation small; goes wrong in process 1 at the third update."""

    name = "uneven"
    Config = PluginConfig

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.updates = 0

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        return {"images": images}

    def forward(self, views: Views) -> StepOutput:
        h = representation(self.encoder, normalize(views["images"], self.context.mean, self.context.std))
        self.updates += 1
        loss = F.mse_loss(h, torch.zeros_like(h))
        alone = distributed.is_initialized() and distributed.get_rank() == 1
        return StepOutput(self.go_wrong(loss) if alone and self.updates == 3 else loss)

    def go_wrong(self, loss: torch.Tensor) -> torch.Tensor:
        return loss


class Stumbles(Uneven):
    name = "stumbles"

    def go_wrong(self, loss: torch.Tensor) -> torch.Tensor:
        raise KeyError("a plugin's own mistake")


class Diverges(Uneven):
    name = "diverges"

    def go_wrong(self, loss: torch.Tensor) -> torch.Tensor:
        return loss * torch.nan


class Dies(Uneven):
    name = "dies"

    def go_wrong(self, loss: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return loss


class TakesThreads(Uneven):
    name = "takes-threads"

    def go_wrong(self, loss: torch.Tensor) -> torch.Tensor:
        torch.set_num_threads(3)
        return loss


UNEVEN = (Uneven, Stumbles, Diverges, Dies, TakesThreads)
