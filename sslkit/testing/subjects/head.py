"""A downstream head to be checked, and the ways to make, train and ask one."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import torch

from sslkit.engine.networks import call_with_seed, evaluation_mode
from sslkit.engine.optimisation import make_optimizer
from sslkit.interfaces import DownstreamHead
from sslkit.testing.subjects.subject import Subject
from sslkit.types import Prediction


class HeadSubject(Subject):
    """A downstream head on representations of 16 numbers."""

    kind = "head"
    cls: type[DownstreamHead[Any]]
    num_features = 16

    def make(self, seed: int = 0, num_features: int | None = None) -> DownstreamHead[Any]:
        """Return a head as a run makes it: its weights from a seed."""
        width = self.num_features if num_features is None else num_features
        head: DownstreamHead[Any] = call_with_seed(seed, lambda: self.cls(self.config, width))
        return head

    @cached_property
    def num_classes(self) -> int:
        """K, the number of the head's classes."""
        return self.make().num_classes

    def targets(self, rows_a_class: int, seed: int = 0) -> torch.Tensor:
        """Return as many targets of each class, in any order, int64 (N,)."""
        rows = torch.arange(rows_a_class * self.num_classes)
        return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))] % self.num_classes

    def noise(self, count: int, seed: int = 0) -> torch.Tensor:
        """Return representations that say nothing, float32 (N, 16)."""
        return torch.randn(count, self.num_features, generator=torch.Generator().manual_seed(seed))

    def clusters(self, targets: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """Return representations that lie along a line in the order of their classes, float32 (N, 16)."""
        place = targets / (self.num_classes - 1) - 0.5
        along = torch.ones(self.num_features) / math.sqrt(self.num_features)
        return 0.2 * self.noise(len(targets), seed) + 4 * place[:, None] * along

    def logits(self, head: DownstreamHead[Any], features: torch.Tensor) -> torch.Tensor:
        """Return float32 logits, (N, L), as evaluation computes them: in eval mode, without gradients."""
        with evaluation_mode(head):
            logits: torch.Tensor = head(features.clone())
        return logits.float().clone()  # no longer a tensor of inference mode: a run reads logits from a file, too

    def random_logits(self, head: DownstreamHead[Any], count: int, scale: float) -> torch.Tensor:
        """Return logits of that many rows, from a normal distribution, float32 (N, L)."""
        length = self.logits(head, self.noise(1)).shape[1]
        return scale * torch.randn(count, length, generator=torch.Generator().manual_seed(7))

    def loss(self, head: DownstreamHead[Any], features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of representations against their classes, with the global generator seeded."""
        loss: torch.Tensor = call_with_seed(0, lambda: head.loss(head(features.clone()), targets.clone()))
        return loss

    def fit(self, head: DownstreamHead[Any], logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Fit a head to copies of logits and targets, with the global generator seeded."""
        call_with_seed(0, lambda: head.fit(logits.clone(), targets.clone()))

    def predict(self, head: DownstreamHead[Any], logits: torch.Tensor) -> Prediction:
        """Return what a copy of the logits is decoded into, with the global generator seeded."""
        prediction: Prediction = call_with_seed(0, lambda: head.predict(logits.clone()))
        return prediction

    def train(
        self, head: DownstreamHead[Any], features: torch.Tensor, targets: torch.Tensor, num_updates: int
    ) -> list[float]:
        """Train a head on representations, all of them in each update; return the losses."""
        optimizer = make_optimizer([head], learning_rate=3e-2, weight_decay=0.0)
        losses = []
        for _ in range(num_updates):
            loss = self.loss(head, features, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return losses

    @cached_property
    def trained(self) -> tuple[DownstreamHead[Any], list[float]]:
        """A head after two hundred updates on separable representations, and their losses."""
        head, targets = self.make(), self.targets(20)
        return head, self.train(head, self.clusters(targets), targets, num_updates=200)
