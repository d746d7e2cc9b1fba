"""Inpainting: what was where the image has holes?

Pathak, Krähenbühl, Donahue, Darrell and Efros, "Context Encoders: Feature Learning by Inpainting", CVPR 2016, arXiv
1604.07379. Parts of an image are hidden, and the encoder with a decoder predicts them from what is left, by the squared
error over what was hidden (equation 1).

Deviations from the paper: there is no adversarial loss; the paper has none either where features are learnt (section
5.2). Colours are predicted for squares of a few pixels. There is no channel-wise fully connected layer between encoder
and decoder, which the paper's small network needs to see beyond its receptive field. The seam between hole and
surroundings is not predicted and weighed up: that makes better pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from sslkit import (
    MapDecoder,
    PluginConfig,
    PretextTask,
    StepOutput,
    TaskContext,
    Views,
    feature_map,
    feature_map_shape,
    hookimpl,
    normalize,
    squares_in_mask,
    why_no_feature_map,
)
from sslkit_inpainting.holes import center_hole, random_blocks

__all__ = ["Inpainting", "InpaintingConfig", "inpaint", "inpainting_loss", "mean_over_holes"]


class InpaintingConfig(PluginConfig):
    """Options of the inpainting task.

    Attributes:
        holes: "blocks" hides several blocks at random places, which the paper finds to teach more general features;
            "center" one about the centre, the same for every image.
        share: of the image that is hidden: of what its mask shows at the most with "blocks", of the square with
            "center".
        target_stride: side in pixels of the squares whose mean colours are predicted; 1 predicts every pixel.
    """

    holes: Literal["blocks", "center"] = "blocks"
    share: float = Field(0.25, ge=0.05, le=0.5)
    target_stride: int = Field(4, ge=1, le=64)


def mean_over_holes(values: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return the mean of values over each image's hole and the channels, averaged over the images.

    Every image counts alike, however much of it is hidden.

    Args:
        values: float32 (N, C, h, w).
        hidden: bool (N, h, w), one place at least in each image.

    Returns:
        0-d float32.

    Example:
        >>> hidden = torch.tensor([[[True, False]], [[True, True]]])
        >>> mean_over_holes(torch.tensor([[[[4.0, 9.0]]], [[[1.0, 3.0]]]]), hidden)  # the mean of 4 and 2
        tensor(3.)
    """
    sums = (values.mean(dim=1) * hidden).sum(dim=(1, 2))
    return (sums / hidden.sum(dim=(1, 2))).mean()


def inpainting_loss(predicted: torch.Tensor, targets: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error over what is hidden (equation 1, divided by the size of the hole).

    Args:
        predicted: float32 (N, 3, h, w).
        targets: float32 (N, 3, h, w).
        hidden: bool (N, h, w), one place at least in each image.

    Returns:
        0-d float32.

    Example:
        >>> hidden = torch.tensor([[[True, False]]])
        >>> inpainting_loss(torch.zeros(1, 3, 1, 2), torch.full((1, 3, 1, 2), 2.0), hidden)
        tensor(4.)
    """
    return mean_over_holes((predicted - targets).square(), hidden)


class Inpainting(PretextTask[InpaintingConfig]):
    """Learns to fill in what was hidden of an image.

    Views: ``images``, uint8 (N, 3, H, W), with the backbone's mean colour in the holes; ``targets``, uint8
    (N, 3, H, W), the images as they were; ``hidden``, bool (N, h, w), the squares of ``target_stride`` pixels that the
    holes are made of, with h = w = image size / ``target_stride``, rounded up. Where the images have a mask, only
    squares wholly inside it are ever hidden. Metrics: ``grey_level_error``, the mean distance in the holes between a
    predicted and a true colour of a square, per channel, 0..255.

    There is nothing for the audit to probe, so that ``probe_labels`` is left as it is: a view has no one answer, but a
    colour at each place.

    State: none but the weights.

    Raises:
        ValueError: by ``view_sizes``, if the squares are too large for the image or its mask.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Inpainting(InpaintingConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
        >>> views = task.make_views(images, torch.Generator())
        >>> views["hidden"].shape, task(views).loss.shape
        (torch.Size([2, 8, 8]), torch.Size([]))
    """

    name = "inpainting"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = InpaintingConfig
    family = "generation"
    paper = "Pathak et al. 2016, arXiv 1604.07379"

    def __init__(self, config: InpaintingConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        side = math.ceil(context.image_size / config.target_stride)
        self.decoder = MapDecoder(feature_map_shape(backbone, context.image_size), 3, side)

    @classmethod
    def view_sizes(cls, config: InpaintingConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the images' own size.

        Raises:
            ValueError: if no square can be hidden, or none would be left to be seen.
        """
        size, stride = context.image_size, config.target_stride
        inside = squares_in_mask(size, stride, context.mask)
        if config.holes == "blocks":
            possible = config.share * int(inside.sum()) >= 1
        else:
            possible = 0 < int(center_hole(inside, config.share).sum()) < int(inside.sum())
        if not possible:
            where = f"images of {size} px" if context.mask is None else f"the mask of images of {size} px"
            raise ValueError(
                f"target_stride = {stride} is too large for {where}: it has too few squares to hide a share of "
                f"{config.share} and leave some; give a smaller one, or a larger images.size"
            )
        return (size,)

    @classmethod
    def supports(cls, config: InpaintingConfig, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why a network gives no feature map to predict from, or None if it does."""
        return why_no_feature_map(backbone, context.image_size)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Draw the holes, and fill them with the mean colour."""
        inside = squares_in_mask(self.context.image_size, self.config.target_stride, self.context.mask)
        if self.config.holes == "blocks":
            hidden = random_blocks(inside, self.config.share, len(images), generator)
        else:
            hidden = center_hole(inside, self.config.share).repeat(len(images), 1, 1)
        hidden = hidden.to(images.device)
        fill = (255 * torch.tensor(self.context.mean)).round().to(images).view(3, 1, 1)
        return {
            "images": torch.where(self._in_pixels(hidden), fill, images),
            "targets": images.clone(),
            "hidden": hidden,
        }

    def forward(self, views: Views) -> StepOutput:
        """Predict the squares, and compare those that were hidden."""
        predicted, hidden = self.predict(views["images"]), views["hidden"]
        with torch.autocast(predicted.device.type, enabled=False):  # colours need more digits than bf16 has
            targets = normalize(views["targets"], self.context.mean, self.context.std)
            targets = F.avg_pool2d(targets, self.config.target_stride, ceil_mode=True)
            loss = inpainting_loss(predicted, targets, hidden)
            grey_levels = 255 * torch.tensor(self.context.std).to(predicted.device).view(3, 1, 1)
            error = mean_over_holes((predicted.detach() - targets).abs() * grey_levels, hidden)
        return StepOutput(loss, {"grey_level_error": error})

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Return normalised colours of the squares, float32 (N, 3, h, w), of images with holes, uint8 (N, 3, H, W)."""
        x = normalize(images, self.context.mean, self.context.std)
        colours: torch.Tensor = self.decoder(feature_map(self.encoder, x))
        return colours.float()

    def _in_pixels(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the holes (N, h, w) pixel by pixel, bool (N, 1, H, W)."""
        stride, size = self.config.target_stride, self.context.image_size
        pixels = hidden.repeat_interleave(stride, dim=1).repeat_interleave(stride, dim=2)
        return pixels[:, None, :size, :size]


@torch.no_grad()
def inpaint(task: Inpainting, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return images whose holes a task has filled, to look at.

    Args:
        task: in eval mode, on the images' device.
        images: uint8 (N, 3, H, W); of what the holes hide, nothing is used.
        generator: on the CPU; one in the same state gives the same holes as in ``task.make_views``.

    Returns:
        uint8 (N, 3, H, W): as predicted in the holes, square by square, and as they are elsewhere.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Inpainting(InpaintingConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> inpaint(task.eval(), torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.Generator()).shape
        torch.Size([2, 3, 32, 32])
    """
    views = task.make_views(images, generator)
    mean, std = (
        torch.tensor(values).to(images.device).view(3, 1, 1) for values in (task.context.mean, task.context.std)
    )
    colours = (255 * (task.predict(views["images"]) * std + mean)).round().clamp(0, 255).to(torch.uint8)
    stride, (height, width) = task.config.target_stride, images.shape[2:]
    colours = colours.repeat_interleave(stride, dim=2).repeat_interleave(stride, dim=3)[:, :, :height, :width]
    return torch.where(task._in_pixels(views["hidden"]), colours, images)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the inpainting task."""
    return (Inpainting,)
