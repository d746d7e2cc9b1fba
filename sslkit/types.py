"""The values that pass between the toolkit and its plugins.

Shape letters, here and in every docstring:

    N  images or views in a batch      C  channels (3: RGB)
    H, W  height and width in pixels   D  features of a representation
    K  classes                         M  images of a data set
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import nn

from sslkit.storage import StoredObject

Views: TypeAlias = dict[str, torch.Tensor]
"""Named tensors with N first: what a pretext task sees of a batch of images."""


@dataclass(frozen=True)
class StepOutput:
    """What one forward pass of a pretext task yields.

    Attributes:
        loss: 0-d float32, differentiable.
        metrics: detached 0-d tensors by name, averaged into the log.
        carry: whatever the task's ``after_update`` needs (the keys of a queue, say).
    """

    loss: torch.Tensor
    metrics: dict[str, torch.Tensor] = field(default_factory=dict)
    carry: Any = None


@dataclass(frozen=True)
class Prediction:
    """The decoded output of a head.

    Attributes:
        classes: int64 (N,), each in 0..K-1.
        probabilities: float32 (N, K), each row sums to one.
    """

    classes: torch.Tensor
    probabilities: torch.Tensor


class TaskPart(Protocol):
    """A pretext task that is a part of another one, with its options; the toolkit has found it."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""

    def make_task(self, backbone: nn.Module, context: TaskContext) -> Any:
        """Return the [PretextTask][sslkit.PretextTask] on a backbone."""

    def view_sizes(self, context: TaskContext) -> tuple[int, ...]:
        """Return the sides of its views; see [view_sizes][sslkit.PretextTask.view_sizes]."""

    def supports(self, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why it cannot train a network; see [supports][sslkit.PretextTask.supports]."""


@dataclass(frozen=True)
class TaskContext:
    """All that a pretext task is told of its data; no label is among it.

    Attributes:
        image_size: side of the square images in pixels.
        mean: the backbone's mean of each channel, in 0..1.
        std: the backbone's standard deviation of each channel, in 0..1.
        mask: bool (H, W), true where every image shows its subject; None where nothing is masked.
        parts: the tasks that this one is made of, where its options have ``parts``, tables that each name a task
            ([PluginTable][sslkit.PluginTable]); in their order.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mask: torch.Tensor | None = None
    parts: tuple[TaskPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a data set, as its manifest lists it.

    Attributes:
        id: unique in the data set; appears in splits.json and predictions.csv.
        path: the image's file; None where it lies in a store, or the data set makes or holds its images itself.
        label: the label as the source writes it; None for an unlabelled image.
        group: images of one group (a patient, say) are never on two sides of a split; None: a group of its own.
        source: where the record stands ("labels.csv, line 7"), for messages.
        stored: the image's object, where it lies in a store and not in a file.
    """

    id: str
    path: Path | None = None
    label: str | int | None = None
    group: str | None = None
    source: str = field(default="", compare=False)
    stored: StoredObject | None = None
