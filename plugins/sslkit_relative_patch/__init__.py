"""Relative patch location: on which side of a patch does another one lie?

Doersch, Gupta and Efros, "Unsupervised Visual Representation Learning by Context Prediction", ICCV 2015, arXiv
1505.05192. Patches are cut out of an image in a grid. Each goes through the encoder by itself; a head that sees the
representations of two neighbours learns by cross-entropy in which of eight directions the second one lies.

Against shortcuts there are, as in the paper: a gap of half a patch, a random shift of each patch, and colour dropping
or projection. Deviations from the paper:

- The grid is three by three, as large as the image allows, and all of its 40 ordered pairs of neighbours are asked
  about in every update: the encoder sees 9 patches, and only the head sees more. The paper takes grids of large
  photographs, of which each patch is in up to 8 pairs.
- Patches come from the square inscribed in the images' mask: a patch with a piece of the mask would tell its place.
- The noise in dropped channels has a standard deviation of one grey level, not of a hundredth of the kept channel's.
- Patches are not made coarse by sampling them down to 100 pixels and up again: here they have few more to begin with.
- The head is smaller: one hidden layer of 512, not two of 4096 over one.
- The encoder is any backbone, with its own BatchNorm, not AlexNet with BatchNorm without scale and shift.
- Patches can be resized (``patch_size``), for small images and backbones that do not take small ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional as F

from sslkit import (
    PluginConfig,
    PretextTask,
    StepOutput,
    TaskContext,
    Views,
    cut_squares,
    hookimpl,
    normalize,
    representation,
)
from sslkit_relative_patch.colours import drop_colours, project_colours
from sslkit_relative_patch.layout import (
    NUM_DIRECTIONS,
    NUM_PATCHES,
    Layout,
    cells,
    direction,
    make_layout,
    neighbours,
)

_HIDDEN_FEATURES = 512


class RelativePatchConfig(PluginConfig):
    """Options of the relative patch task.

    Attributes:
        gap: pixels between neighbouring patches before they are moved, as a share of a patch's side; more than twice
            ``jitter``. The paper has 0.5.
        jitter: how far each patch is moved at most, in either direction and along either axis, as a share of the same;
            at least one pixel unless 0. The paper has 7 of 96 pixels.
        colour: against fringes of colour, which grow towards the border of a photograph: "drop" replaces two of three
            channels of each patch, drawn anew each time, by noise; "project" takes away what tells green from magenta;
            "keep" leaves colours as they are.
        patch_size: side in pixels to which patches are resized (bilinear, antialiased), where a backbone takes no
            images as small as they are. Not set: patches are as they are cut, and no pixel is resampled.
    """

    gap: float = Field(0.5, ge=0.05, le=1)
    jitter: float = Field(0.07, ge=0, le=0.25)
    colour: Literal["drop", "project", "keep"] = "drop"
    patch_size: int | None = Field(None, ge=8, le=1024)

    @model_validator(mode="after")
    def _patches_stay_apart(self) -> RelativePatchConfig:
        if self.gap <= 2 * self.jitter:
            raise ValueError(
                f"two patches that are moved towards each other by jitter = {self.jitter:g} close a gap of "
                f"{self.gap:g}; give a gap above {2 * self.jitter:g}, or a smaller jitter"
            )
        return self


class RelativePatch(PretextTask[RelativePatchConfig]):
    """Learns in which of eight directions a patch lies from its neighbour.

    Views: ``images``, uint8 (9N, 3, p, p), whose row 9 i + c is the patch of image i in cell c, counted row by row.
    Nothing is shuffled: the encoder sees one patch at a time, and the head the representations of two.
    Metrics: ``accuracy``, 0..1, over the 40 ordered pairs of neighbours of each image; chance is 0.15, since 6 of them
    lie in each direction along an axis and 4 in each diagonal one. State: none but weights.

    Raises:
        ValueError: if the images are too small for nine patches.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=96, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = RelativePatch(RelativePatchConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> views = task.make_views(torch.zeros(2, 3, 96, 96, dtype=torch.uint8), torch.Generator())
        >>> views["images"].shape, task(views).loss.shape
        (torch.Size([18, 3, 22, 22]), torch.Size([]))
    """

    name = "relative-patch"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = RelativePatchConfig
    family = "context"
    paper = "Doersch, Gupta and Efros 2015, arXiv 1505.05192"

    pairs: torch.Tensor
    directions: torch.Tensor

    def __init__(self, config: RelativePatchConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.layout = _layout_of(config, context)
        pairs = neighbours()
        first, second = cells()[pairs].unbind(dim=1)
        self.register_buffer("pairs", pairs, persistent=False)
        self.register_buffer("directions", direction(first, second), persistent=False)
        width: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.classifier = nn.Sequential(
            nn.Linear(2 * width, _HIDDEN_FEATURES), nn.ReLU(), nn.Linear(_HIDDEN_FEATURES, NUM_DIRECTIONS)
        )

    @classmethod
    def view_sizes(cls, config: RelativePatchConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the side of a patch, as it is cut or resized."""
        layout = _layout_of(config, context)
        return (config.patch_size or layout.patch,)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Cut nine patches out of each image, and take their colours away."""
        num_images, reach = len(images), self.layout.jitter
        moves = torch.randint(-reach, reach + 1, (num_images, NUM_PATCHES, 2), generator=generator)
        kept = torch.randint(3, (num_images * NUM_PATCHES,), generator=generator)
        patches = cut_squares(images, self.layout.corners() + moves, self.layout.patch)
        if self.config.patch_size is not None:
            patches = F.interpolate(patches, self.config.patch_size, mode="bilinear", antialias=True)
        if self.config.colour == "drop":
            patches = drop_colours(patches, kept, self.context.mean, generator)
        elif self.config.colour == "project":
            patches = project_colours(patches)
        return {"images": patches}

    def probe_labels(self, views: Views) -> torch.Tensor:
        """Return the cell of each patch, 0..8: who knows it of two patches knows the direction."""
        patches = views["images"]
        return torch.arange(NUM_PATCHES, device=patches.device).repeat(len(patches) // NUM_PATCHES)

    def forward(self, views: Views) -> StepOutput:
        """Classify the directions of all pairs of neighbours by cross-entropy."""
        patches = normalize(views["images"], self.context.mean, self.context.std)
        h = representation(self.encoder, patches)
        h = h.view(-1, NUM_PATCHES, h.shape[1])
        first, second = self.pairs.unbind(dim=1)
        logits = self.classifier(torch.cat([h[:, first], h[:, second]], dim=2)).float()
        logits, labels = logits.flatten(0, 1), self.directions.repeat(len(h))
        loss = F.cross_entropy(logits, labels)
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})


def _layout_of(config: RelativePatchConfig, context: TaskContext) -> Layout:
    return make_layout(context.image_size, context.mask, config.gap, config.jitter)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the relative patch task."""
    return (RelativePatch,)
