"""Relative scale: from how near was the image taken?

Of each image a square is cut out at one of K scales, at a random place, and brought to one size. The task is to tell
which scale it was. To do so, the encoder has to know how large things usually are: vessels, an optic disc.

It is a toy that shows what a distribution of someone else's looks like. It follows no paper, and claims no gain. One
shortcut is known: a small square that is enlarged has less fine detail than a large one has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, field_validator
from sslkit import PluginConfig, PretextTask, StepOutput, TaskContext, Views, hookimpl, normalize
from torch import nn
from torch.nn import functional as F


class RelativeScaleConfig(PluginConfig):
    """Options of the task, which a configuration gives beside its name."""

    # A TOML array arrives as a list, which strict pydantic would refuse for a tuple.
    scales: Annotated[tuple[float, ...], Field(strict=False)] = Field(
        default=(1.0, 0.75, 0.5),
        description="Sides of the squares, as shares of the largest square that every image shows, largest first.",
    )

    @field_validator("scales")
    @classmethod
    def _distinct_shares_in_order(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if len(scales) < 2:
            raise ValueError(f"got {len(scales)} scales; give two at least, since there is nothing to tell apart")
        if list(scales) != sorted(set(scales), reverse=True) or not 0 < scales[-1] <= scales[0] <= 1:
            raise ValueError(f"got {list(scales)}; give distinct shares above 0 and up to 1, largest first")
        return scales


def margin_of(mask: torch.Tensor | None) -> int:
    """Return how far from the border the largest centred square begins that every image shows.

    Args:
        mask: bool (H, H), true where every image shows its subject, a disc about the centre; None: everywhere.

    Example:
        >>> mask = torch.zeros(4, 4, dtype=torch.bool)
        >>> mask[1:3, 1:3] = True
        >>> margin_of(mask)
        1
    """
    return 0 if mask is None else int(mask.diagonal().int().argmax())


def crop(images: torch.Tensor, side: int, lefts: torch.Tensor, tops: torch.Tensor) -> torch.Tensor:
    """Cut a square out of each image, all of them of one side, each at its own place.

    Args:
        images: any dtype (N, C, H, W).
        side: of the squares in pixels.
        lefts: int64 (N,), their first columns.
        tops: int64 (N,), their first rows.

    Returns:
        The same dtype, (N, C, side, side).

    Example:
        >>> crop(torch.arange(9).view(1, 1, 3, 3), 2, torch.tensor([1]), torch.tensor([0])).tolist()
        [[[[1, 2], [4, 5]]]]
    """
    span = torch.arange(side)
    rows = (tops[:, None] + span)[:, :, None]
    columns = (lefts[:, None] + span)[:, None, :]
    return images.permute(0, 2, 3, 1)[torch.arange(len(images))[:, None, None], rows, columns].permute(0, 3, 1, 2)


def resize(images: torch.Tensor, side: int) -> torch.Tensor:
    """Bring uint8 images (N, C, H, W) to a side, antialiased where they become smaller.

    Example:
        >>> resize(torch.full((1, 3, 4, 4), 7, dtype=torch.uint8), side=2).unique().tolist()
        [7]
    """
    scaled = F.interpolate(images.float(), size=(side, side), mode="bilinear", align_corners=False, antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)


class RelativeScale(PretextTask[RelativeScaleConfig]):
    """Learns from how near an image was taken.

    Views: ``images``, uint8 (N, 3, H, W), and ``labels``, int64 (N,) in 0..K-1, which of
    the scales it is. Metrics: ``accuracy``, 0..1; chance is 1 / K.
    """

    name = "relative-scale"
    api_version = 1  # of sslkit's interfaces, as this class was written for them
    Config: ClassVar[type[PluginConfig]] = RelativeScaleConfig

    def __init__(self, config: RelativeScaleConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        width: Any = backbone.head_hidden_size
        self.classifier = nn.Linear(width, len(config.scales))
        self.margin = margin_of(context.mask)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Cut a square at a random scale and place out of each image, and bring it to the images' side."""
        labels = torch.randint(len(self.config.scales), (len(images),), generator=generator)
        places = torch.rand(2, len(images), generator=generator)
        views = torch.empty_like(images)
        for label, scale in enumerate(self.config.scales):
            chosen = labels == label
            views[chosen] = self._views_at(scale, images[chosen], places[:, chosen])
        return {"images": views, "labels": labels}

    def _views_at(self, scale: float, images: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        size = images.shape[-1]
        largest = size - 2 * self.margin
        side = max(1, round(scale * largest))
        room = largest - side
        lefts, tops = self.margin + (places * (room + 1)).long().clamp(max=room)  # a product may be rounded up
        return resize(crop(images, side, lefts, tops), size)

    def probe_labels(self, views: Views) -> torch.Tensor:
        """Return the scales, which a border that all squares of one scale share would tell."""
        return views["labels"]

    def forward(self, views: Views) -> StepOutput:
        """Classify the scales by cross-entropy."""
        encoder: Any = self.encoder
        images = normalize(views["images"], self.context.mean, self.context.std)
        h = encoder.forward_head(encoder.forward_features(images), pre_logits=True)  # (N, D)
        logits = self.classifier(h).float()
        accuracy = (logits.detach().argmax(dim=1) == views["labels"]).float().mean()
        return StepOutput(F.cross_entropy(logits, views["labels"]), {"accuracy": accuracy})


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the task."""
    return [RelativeScale]
