"""A pretext task to be checked, and the ways to make, feed and train one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from sslkit.data.cropping import circular_mask
from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.tasks import make_views, take_step
from sslkit.experiment.study import find_parts
from sslkit.experiment.view_stream import VIEW_CHUNK
from sslkit.interfaces import Backbone, PretextTask
from sslkit.registry import build_registry
from sslkit.testing.generators import every_generator_seeded
from sslkit.testing.network import TinyNetwork
from sslkit.testing.samples import sample_images
from sslkit.testing.subjects.subject import Subject
from sslkit.types import StepOutput, TaskContext, Views


@dataclass
class Training:
    """A pretext task that was trained on a few images.

    Attributes:
        task: the task, as the training left it.
        losses: one an update.
    """

    task: PretextTask[Any]
    losses: list[float]


class PretextTaskSubject(Subject):
    """A pretext task on a [tiny network][sslkit.testing.TinyNetwork] and computed images of 64 pixels."""

    kind = "pretext-task"
    cls: type[PretextTask[Any]]
    image_size = 64

    @cached_property
    def context(self) -> TaskContext:
        """What the task is told: images in a circular mask, as ``crop = "fundus"`` makes them."""
        mask = torch.from_numpy(circular_mask(self.image_size))
        parts = find_parts(build_registry(), self.root, self.config, "options")
        return TaskContext(self.image_size, Backbone.mean, Backbone.std, mask, parts)

    @property
    def batch_size(self) -> int:
        """Images of a batch: two chunks of views, the second one short."""
        return max(VIEW_CHUNK + 4, self.cls.min_batch_size)

    def images(self, count: int | None = None, seed: int = 0) -> torch.Tensor:
        """Return computed images, black outside the mask, uint8 (N, 3, H, W)."""
        images = sample_images(count or self.batch_size, self.image_size, seed)
        mask = self.context.mask
        return images if mask is None else images * mask

    def build(self, context: TaskContext | None = None) -> PretextTask[Any]:
        """Return a task as a run makes it: its first weights from the global generator, its prior from images."""
        task = self.cls(self.config, TinyNetwork(), context or self.context)
        if type(task).fit is not PretextTask.fit:
            task.fit(self.images(32, seed=1))
        return task.train()

    def make(self, seed: int = 0, context: TaskContext | None = None) -> PretextTask[Any]:
        """Return a task made from a seed."""
        with every_generator_seeded(seed):
            return self.build(context)

    def views(self, task: PretextTask[Any], images: torch.Tensor, seed: int = 0) -> Views:
        """Return the views of a batch, made chunk by chunk as a run makes them."""
        chunks = [
            make_views(task, images[start : start + VIEW_CHUNK], torch.Generator().manual_seed(seed + start))
            for start in range(0, len(images), VIEW_CHUNK)
        ]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def step(self, task: PretextTask[Any], views: Views, seed: int = 0) -> StepOutput:
        """Return what a forward pass yields, with the global generators seeded."""
        with every_generator_seeded(seed):
            return take_step(task, views)

    def train(self, task: PretextTask[Any], images: torch.Tensor, num_updates: int, first: int = 0) -> list[float]:
        """Train a task as a run does, each update on new views of the same images; return the losses."""
        optimizer = make_optimizer([task], learning_rate=3e-3, weight_decay=0.0)
        losses = []
        for update in range(first, first + num_updates):
            progress = update / (first + num_updates)
            task.before_update(progress)
            output = self.step(task, self.views(task, images, seed=1000 * update), seed=update)
            optimizer.zero_grad()
            output.loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            task.after_update(output, progress)
            losses.append(output.loss.item())
        return losses

    @cached_property
    def trained(self) -> Training:
        """A task that was trained for a hundred updates: the tiny problem."""
        task = self.make()
        return Training(task, self.train(task, self.images(), num_updates=100))
