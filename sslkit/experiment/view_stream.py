"""What a pretraining shows its task: the task as it begins, and the views of any update, each as if it stood alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sslkit.blame import blame
from sslkit.data.sharded_images import Images
from sslkit.engine.networks import build_network, call_with_seed, load_batch
from sslkit.engine.seeding import derive_seed, make_generator, shuffled_rows
from sslkit.engine.tasks import make_views
from sslkit.experiment.recipe import Configured, Recipe, task_context
from sslkit.experiment.representation_probe import evenly_drawn
from sslkit.interfaces import PretextTask
from sslkit.types import Views

VIEW_CHUNK = 8
"""Images that ``make_views`` is called on at a time: a constant of the seeding, not of speed."""

_MAX_FIT_IMAGES = 2000
"""Images that a task's ``fit`` is given at most, evenly drawn: memory does not grow with the data set."""


@dataclass(frozen=True)
class ViewStream:
    """The endless views of one pretraining.

    Attributes:
        recipe: what all jobs share.
        task: the pretext task.
        fold: the fold whose test images it must not see; None: all images.
        rows: the images that it sees.
    """

    recipe: Recipe
    task: Configured
    fold: int | None
    rows: npt.NDArray[np.int64]

    @cached_property
    def images(self) -> Images:
        """All decoded images, uint8 (M, H, W, 3), read from disk as they are used."""
        return self.recipe.cache.open()

    @property
    def seed(self) -> tuple[int | str, ...]:
        """What every draw of the pretraining begins with; the same for every task."""
        return self.recipe.seed, "pretraining", -1 if self.fold is None else self.fold

    @property
    def batch_size(self) -> int:
        """Images an update."""
        return min(self.recipe.pretraining.batch_size, len(self.rows))

    @property
    def updates_per_epoch(self) -> int:
        """Updates an epoch; images that fill no batch are dropped at its end."""
        return len(self.rows) // self.batch_size

    @property
    def num_updates(self) -> int:
        """Updates in all."""
        return self.recipe.pretraining.epochs * self.updates_per_epoch

    def make_task(self) -> PretextTask[Any]:
        """Return the task before its first update, on the CPU, its prior fitted."""
        backbone = self.recipe.backbone.make()
        context = task_context(backbone, self.recipe.preprocessing)

        def make() -> PretextTask[Any]:
            task = self.task.make_task(build_network(backbone), context)
            if type(task).fit is not PretextTask.fit:
                with blame(task.provenance, "fit()"):
                    task.fit(load_batch(self.images, evenly_drawn(self.rows, _MAX_FIT_IMAGES)))
            return task

        task: PretextTask[Any] = call_with_seed(derive_seed(*self.seed, "initial"), make)
        return task

    def first_epoch(self) -> npt.NDArray[np.int64]:
        """Return the rows of the batches of the first epoch, one batch after another."""
        return shuffled_rows(self.rows, 0, self.updates_per_epoch * self.batch_size, *self.seed, "order")

    def rows_of(self, update: int) -> npt.NDArray[np.int64]:
        """Return the rows of an update's batch, in its order."""
        epoch, position = divmod(update, self.updates_per_epoch)
        start = epoch * len(self.rows) + position * self.batch_size  # what is left of an epoch is dropped
        return shuffled_rows(self.rows, start, self.batch_size, *self.seed, "order")

    def generator(self, update: int, chunk: int) -> torch.Generator:
        """Return what the views of a chunk of an update's batch are drawn with."""
        epoch, position = divmod(update, self.updates_per_epoch)
        chunks_per_batch = -(-self.batch_size // VIEW_CHUNK)
        return make_generator(*self.seed, "views", epoch, position * chunks_per_batch + chunk)

    def views(self, task: PretextTask[Any], update: int, part: int = 0, parts: int = 1) -> Views:
        """Return the views of an update, on the CPU, or those of one of several equal parts of its batch.

        Parts are whole chunks, so that a view does not depend on their number: see
        [why_no_parts][sslkit.experiment.view_stream.why_no_parts].
        """
        size = self.batch_size // parts
        first = part * size // VIEW_CHUNK
        images = load_batch(self.images, self.rows_of(update)[part * size :][:size])
        chunks = [
            make_views(task, images[start : start + VIEW_CHUNK], self.generator(update, number))
            for number, start in enumerate(range(0, len(images), VIEW_CHUNK), first)
        ]
        with blame(task.provenance, "make_views(), whose views of one batch do not fit together"):
            return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def why_no_parts(batch_size: int, processes: int) -> str | None:
    """Return why a batch cannot be dealt to processes, with the nearest size that can, or None if it can.

    Args:
        batch_size: images an update.
        processes: that train together.

    Example:
        >>> why_no_parts(32, 2), why_no_parts(24, 1)
        (None, None)
        >>> why_no_parts(40, 2)
        'a batch of 40 images is not dealt evenly to 2 processes in chunks of 8; the nearest that are: 32 or 48'
    """
    step = VIEW_CHUNK * processes
    if processes == 1 or batch_size % step == 0:
        return None
    below = batch_size // step * step
    nearest = f"{below} or {below + step}" if below else f"{step}"
    return (
        f"a batch of {batch_size} images is not dealt evenly to {processes} processes in chunks of {VIEW_CHUNK}; "
        f"the nearest that {'are' if below else 'is'}: {nearest}"
    )
