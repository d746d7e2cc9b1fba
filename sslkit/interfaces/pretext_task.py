"""The contract of a pretext task: a label that the images give of themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import nn

from sslkit.config.base import PluginConfig
from sslkit.interfaces.plugin import API_VERSION, ConfigT, Plugin
from sslkit.types import StepOutput, TaskContext, Views

Family = Literal[
    "context", "generation", "contrast", "self-distillation", "redundancy reduction", "combination", "other"
]
"""What kind of pretext task there is."""

FAMILIES: dict[Family, str] = {
    "context": "how an image, or its parts, lie",
    "generation": "what is missing of an image",
    "contrast": "which views are of one image, and which of others",
    "self-distillation": "what the network itself, or a slow copy of it, says of another view",
    "redundancy reduction": "what views of one image have in common, each number telling something else",
    "combination": "several tasks at once",
    "other": "something else",
}
"""What the tasks of each family learn, in words."""


class PretextTask(nn.Module, Plugin[ConfigT], ABC):
    """A pretext task: holds the encoder that it trains, and its own heads.

    The engine calls, in this order: the constructor, [fit][sslkit.PretextTask.fit] once, and for each update
    [before_update][sslkit.PretextTask.before_update], [make_views][sslkit.PretextTask.make_views],
    [forward][sslkit.PretextTask.forward], a step of the optimiser, [after_update][sslkit.PretextTask.after_update].

    Args:
        config: the task's own options.
        backbone: the network to pretrain; kept as ``encoder``.
        context: image size, mask, mean and standard deviation. No label ever reaches a task.

    Attributes:
        encoder: the backbone to keep when pretraining ends.
        family: what kind of task it is, under which ``sslkit plugins list`` shows it.
        paper: the source of the method: authors, year and where to find it, such as ``"Chen et al. 2020, arXiv
            2002.05709"``. Empty where there is none.
        min_batch_size: the fewest images that make a batch; two where images are told from one another.
    """

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[PluginConfig]] = PluginConfig
    tags: ClassVar[frozenset[str]] = frozenset({"bf16", "compile"})
    family: ClassVar[Family] = "other"
    paper: ClassVar[str] = ""
    min_batch_size: ClassVar[int] = 1

    def __init__(self, config: ConfigT, backbone: nn.Module, context: TaskContext) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.context = context
        self.encoder = backbone

    @classmethod
    def view_sizes(cls, config: ConfigT, context: TaskContext) -> tuple[int, ...]:
        """Return the side in pixels of every view that reaches the backbone; asked at planning.

        Raises:
            ValueError: if the task can make no views of such images; the message says why, and what to do.
        """
        return (context.image_size,)

    @classmethod
    def supports(cls, config: ConfigT, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why a network cannot be pretrained by this task, or None if it can; asked at planning.

        Args:
            config: the task's own options.
            backbone: a network as the run's backbone builds it; not to be changed.
            context: image size, mask, mean and standard deviation.

        Returns:
            A reason that says what would work, such as ``"it gives no tokens; take a vision transformer"``.
        """
        return None

    def fit(self, images: torch.Tensor) -> None:
        """Learn a prior from training images, uint8 (M, 3, H, W), before the first update. Optional."""

    def before_update(self, progress: float) -> None:
        """Move schedules; ``progress`` runs from 0 to 1 over the pretraining. Optional."""

    @abstractmethod
    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Turn images into views: a pure function, with no parameters and no other randomness.

        Args:
            images: uint8 (N, 3, H, W); not to be changed in place.
            generator: the only source of randomness, on the CPU.

        Returns:
            Named tensors, each with a whole number of rows an image.
        """

    def probe_labels(self, views: Views) -> torch.Tensor | None:
        """Return the label of each row of ``views["images"]`` that a shortcut could give away. Optional.

        The audit trains probes on what shows no subject (silhouette, border and corners of the views) to find it.

        Returns:
            int64, one label a row; None where there is nothing to probe.
        """
        return None

    def show_views(self, views: Views) -> Views:
        """Return views as they are to be looked at in the report. Optional.

        For what the network sees and the tensors do not show: an image behind its mask, colours that are not RGB.

        Args:
            views: what ``make_views`` returned; not to be changed in place.

        Returns:
            Named tensors, each with as many rows an image, in the order of the images. Pictures are uint8 (R, 3, H, W)
            or (R, 1, H, W), or maps (R, H, H) with values in 0..1; whole numbers (R,) are shown as labels, and what is
            neither is passed over. By default the views themselves.
        """
        return views

    @abstractmethod
    def forward(self, views: Views) -> StepOutput:
        """Compute the loss of one batch of views."""

    def after_update(self, output: StepOutput, progress: float) -> None:
        """Move momentum copies, queues and centres after the optimiser's step. Optional."""
