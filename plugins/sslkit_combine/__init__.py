"""Combine: several pretext tasks train one backbone.

Doersch and Zisserman, "Multi-task Self-Supervised Visual Learning", ICCV 2017, arXiv 1708.07860. The loss is the sum of
the tasks' own losses, each times its weight.

Deviations from the paper: the tasks' views go through the encoder one task after the other, and not each on a machine
of its own; no task has layers of the encoder to itself, as the paper's lasso over blocks gives them; the inputs of the
tasks are not made alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import nn

from sslkit import PluginConfig, PluginTable, PretextTask, StepOutput, TaskContext, Views, hookimpl


class WeightedPart(PluginTable):
    """A pretext task that is combined with others: its name, its weight, and its own options.

    Attributes:
        name: of the task.
        weight: factor of its loss.
    """

    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False, description="Factor of the task's loss.")] = 1.0


class CombineConfig(PluginConfig):
    """Options of a combination.

    Attributes:
        parts: the tasks, each a table ``[[pretext.parts]]`` with its name, its ``weight`` and its own options.
    """

    parts: tuple[WeightedPart, ...] = Field(min_length=2)

    @field_validator("parts")
    @classmethod
    def _one_of_each(cls, parts: tuple[WeightedPart, ...]) -> tuple[WeightedPart, ...]:
        names = [part.name for part in parts]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the part {repeated[0]!r} stands there twice; name each task once, and raise its weight")
        return parts


class Combine(PretextTask[CombineConfig]):
    """Learns several pretext tasks at once, on one backbone.

    Each part makes its own views, with a generator of its own: what one draws changes nothing for another, and with it
    a part makes the views that it would make alone, from another seed. Views: those of part i under ``"i.name"``.
    Metrics: ``<task>.loss``, before it is weighted, and ``<task>.<metric>``.

    Attributes:
        parts: the tasks, in the order of the configuration. They share the encoder, which is saved once.
        weights: of their losses.

    Example:
        >>> config = CombineConfig(parts=(WeightedPart(name="rotation"), WeightedPart(name="jigsaw", weight=0.5)))
        >>> [part.weight for part in config.parts]
        [1.0, 0.5]
    """

    name = "combine"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = CombineConfig
    family = "combination"
    paper = "Doersch and Zisserman 2017, arXiv 1708.07860"

    def __init__(self, config: CombineConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.names = [part.name for part in context.parts]
        self.weights = [part.weight for part in config.parts]
        self.parts = nn.ModuleList(part.make_task(backbone, context) for part in context.parts)
        for part in self.parts:
            _share(part, backbone)

    @classmethod
    def view_sizes(cls, config: CombineConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the sides of all parts' views."""
        return tuple(sorted({side for part in context.parts for side in part.view_sizes(context)}))

    @classmethod
    def supports(cls, config: CombineConfig, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why a part cannot train the backbone, or None if all can."""
        reasons = ((part.name, part.supports(backbone, context)) for part in context.parts)
        return next((f"its part {name!r} cannot: {reason}" for name, reason in reasons if reason), None)

    def fit(self, images: torch.Tensor) -> None:
        """Give each part the images, uint8 (M, 3, H, W)."""
        for part in self._tasks():
            part.fit(images)

    def before_update(self, progress: float) -> None:
        """Move the schedules of all parts."""
        for part in self._tasks():
            part.before_update(progress)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Make the views of each part with a generator that is seeded from the one that is given."""
        seeds = torch.randint(2**62, (len(self.parts),), generator=generator).tolist()
        return {
            f"{place}.{name}": view
            for place, (part, seed) in enumerate(zip(self._tasks(), seeds, strict=True))
            for name, view in part.make_views(images, torch.Generator().manual_seed(seed)).items()
        }

    def show_views(self, views: Views) -> Views:
        """Return what each part shows of its own views, those of part i under ``"<task>.name"``."""
        return {
            f"{task}.{name}": view
            for place, (task, part) in enumerate(zip(self.names, self._tasks(), strict=True))
            for name, view in part.show_views(views_of(views, place)).items()
        }

    def forward(self, views: Views) -> StepOutput:
        """Return the weighted sum of the parts' losses."""
        outputs = [part(views_of(views, place)) for place, part in enumerate(self.parts)]
        losses = torch.stack([output.loss for output in outputs])
        metrics = {}
        for name, output in zip(self.names, outputs, strict=True):
            metrics[f"{name}.loss"] = output.loss.detach()
            metrics |= {f"{name}.{metric}": value for metric, value in output.metrics.items()}
        return StepOutput((losses * losses.new_tensor(self.weights)).sum(), metrics, carry=outputs)

    def after_update(self, output: StepOutput, progress: float) -> None:
        """Let each part move what follows its own output."""
        for part, own in zip(self._tasks(), output.carry, strict=True):
            part.after_update(own, progress)

    def _tasks(self) -> Iterable[PretextTask[Any]]:
        return (part for part in self.parts if isinstance(part, PretextTask))


def views_of(views: Views, place: int) -> Views:
    """Return the views of one part, by the names that it gave them.

    Args:
        views: what `Combine.make_views` returned.
        place: of the part among the parts, from 0.

    Example:
        >>> views_of({"0.images": torch.zeros(2), "1.images": torch.ones(3)}, 1)
        {'images': tensor([1., 1., 1.])}
    """
    prefix = f"{place}."
    return {name.removeprefix(prefix): view for name, view in views.items() if name.startswith(prefix)}


def _share(part: nn.Module, encoder: nn.Module) -> None:
    """Let a part reach the encoder as an attribute and not as a module of its own, so that it is saved once."""
    del part.encoder
    vars(part)["encoder"] = encoder


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the combination of tasks."""
    return (Combine,)
