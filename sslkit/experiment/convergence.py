"""Trains by phases, and looks at the test images at a few points of the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sslkit.config.schema import FinetuningConfig
from sslkit.engine.networks import check_outputs
from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.precision import Compute
from sslkit.engine.trainer import Schedule, check_update, train
from sslkit.experiment.scoring import Decoder, score
from sslkit.interfaces import Reporter
from sslkit.types import StepOutput


class Convergence:
    """The phases of a cell's training, and its convergence curve; nothing is chosen by the curve.

    Args:
        settings: the budget, of which the phases are parts.
        test: returns what decodes the present logits of the test images, and those logits (N, L).
        targets: int64 (N,), the test images' grades.
        compute: what it is trained on.
        report: takes the progress.

    Attributes:
        curve: loss, learning rate and scores at each point.
        decoder: what decodes the logits of the last point.
        logits: float32 (N, L), those logits: the cell's result.
    """

    decoder: Decoder
    logits: torch.Tensor

    def __init__(
        self,
        settings: FinetuningConfig,
        test: Callable[[], tuple[Decoder, torch.Tensor]],
        targets: npt.NDArray[np.int64],
        compute: Compute,
        report: Reporter,
    ) -> None:
        self.settings, self.test, self.targets, self.compute, self.report = settings, test, targets, compute, report
        # The last of these is the last update, whose logits are the cell's result.
        points = np.linspace(0, settings.updates, settings.evaluations + 1).round().astype(int)[1:]
        self.points = frozenset(points.tolist())
        self.curve: list[dict[str, Any]] = []
        self.done = 0
        self._losses: list[torch.Tensor] = []

    def train(
        self,
        phase: str,
        step: Callable[[int], StepOutput],
        modules: Sequence[nn.Module],
        num_updates: int,
        learning_rate: float,
        seed: Sequence[int | str],
    ) -> None:
        """Train modules for one phase; ``step`` takes the number of an update within it."""
        if not num_updates:
            return
        setting = "finetuning.head_learning_rate" if phase == "head" else "finetuning.learning_rate"
        schedule = Schedule(num_updates, learning_rate, self.settings.warmup, setting)

        def on_update(update: int, output: StepOutput) -> None:
            self.done += 1
            self._losses.append(output.loss.detach())
            self.report({"done": self.done, "total": self.settings.updates})
            if self.done in self.points or update == num_updates - 1:
                check_update(update, output.loss, modules, schedule)
            if self.done in self.points:
                self._evaluate(phase, schedule.rate(update))

        optimizer = make_optimizer(modules, learning_rate, self.settings.weight_decay)
        scaler = self.compute.make_scaler()
        train(step, optimizer, schedule, seed=(*seed, phase), scaler=scaler, on_update=on_update)

    def _evaluate(self, phase: str, learning_rate: float) -> None:
        self.decoder, self.logits = self.test()
        check_outputs(self.logits, "output")
        scores = score(self.decoder, self.logits, self.targets)
        point = {
            "update": self.done,
            "phase": phase,
            "loss": float(np.mean(torch.stack(self._losses).tolist())),
            "learning_rate": learning_rate,
            "qwk": scores["qwk"],
            "accuracy": scores["accuracy"],
        }
        self.curve.append(point)
        self._losses.clear()
