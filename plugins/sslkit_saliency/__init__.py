"""Saliency: what stands out in the image, and where?

There is no one paper of this task. That objects stand out is a label that images give of themselves; here it is
computed, with nothing learnt, from the distances between colours: by Achanta, Estrada, Wils and Süsstrunk, "Salient
Region Detection and Segmentation", ICVS 2008 (local contrast at three scales), or by Achanta, Hemami, Estrada and
Süsstrunk, "Frequency-tuned Salient Region Detection", CVPR 2009. The encoder and a decoder learn to predict the map.

Deviations from the papers: every mean is one over what the images' mask shows; the map is scaled by its 95th percentile
and not by its maximum; it is predicted for squares of a few pixels; of local contrast the same slight blur is taken as
of the frequency-tuned map. Nothing is segmented.
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
    lab_of,
    normalize,
    squares_in_mask,
    why_no_feature_map,
)
from sslkit_saliency.maps import frequency_tuned, local_contrast, to_unit_range

__all__ = ["Saliency", "SaliencyConfig", "correlation", "saliency_loss", "saliency_map"]

_MAPS = {"local-contrast": local_contrast, "frequency-tuned": frequency_tuned}


class SaliencyConfig(PluginConfig):
    """Options of the saliency task.

    Attributes:
        map: "local-contrast" is the distance of a pixel's colour from its surroundings at three scales;
            "frequency-tuned" that from the image's mean colour, in which uneven light stands out as well.
        target_stride: side in pixels of the squares over which the map is averaged to be predicted.
    """

    map: Literal["local-contrast", "frequency-tuned"] = "local-contrast"
    target_stride: int = Field(4, ge=1, le=64)


def saliency_map(images: torch.Tensor, mask: torch.Tensor | None, map: str = "local-contrast") -> torch.Tensor:
    """Return how much each pixel stands out from its image.

    Args:
        images: uint8 (N, 3, H, W), square.
        mask: the pixels that count, bool (H, W); None: all.
        map: "local-contrast" or "frequency-tuned".

    Returns:
        float32 (N, H, W) in 0..1; 0 outside the mask.

    Example:
        >>> images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
        >>> images[0, :, 20:22, 10:12] = 255
        >>> saliency = saliency_map(images, None)[0]
        >>> saliency[20, 10], saliency[2, 30] < 0.1
        (tensor(1.), tensor(True))
    """
    if mask is None:
        mask = torch.ones(images.shape[2:], dtype=torch.bool)
    mask = mask.to(images.device)
    return to_unit_range(_MAPS[map](lab_of(images), mask), mask)


def saliency_loss(logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of predicted saliencies from the true ones, averaged over the places.

    That is the binary cross-entropy with soft targets, less their own entropy: 0 is a perfect prediction.

    Args:
        logits: float32 (N, h, w).
        targets: float32 (N, h, w) in 0..1.
        counted: bool (h, w): the places that count, one at least.

    Returns:
        0-d float32.

    Example:
        >>> counted = torch.ones(1, 2, dtype=torch.bool)
        >>> saliency_loss(torch.zeros(1, 1, 2), torch.tensor([[[0.5, 1.0]]]), counted)  # the mean of 0 and log 2
        tensor(0.3466)
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    entropy: torch.Tensor = torch.special.entr(targets) + torch.special.entr(1 - targets)
    return ((cross_entropy - entropy) * counted).sum() / (len(logits) * counted.sum())


def correlation(predicted: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return Pearson's correlation over each image's places, averaged over the images; 0 for an image of one value.

    Args:
        predicted: float32 (N, h, w).
        targets: float32 (N, h, w).
        counted: bool (h, w): the places that count, one at least.

    Returns:
        0-d float32 in -1..1.

    Example:
        >>> maps = torch.tensor([[[1.0, 2.0, 3.0]], [[5.0, 5.0, 5.0]]])
        >>> correlation(2 * maps, maps, torch.ones(1, 3, dtype=torch.bool))
        tensor(0.5000)
    """
    first, second = (_centred(maps, counted) for maps in (predicted, targets))
    norms = first.square().sum(dim=(1, 2)).sqrt() * second.square().sum(dim=(1, 2)).sqrt()
    correlations: torch.Tensor = (first * second).sum(dim=(1, 2)) / norms.clamp(min=1e-6)
    return correlations.mean()


class Saliency(PretextTask[SaliencyConfig]):
    """Learns to predict what stands out in an image, and where.

    Views: ``images``, uint8 (N, 3, H, W), as they are; ``saliency``, float32 (N, h, w) in 0..1, their map, averaged
    over squares of ``target_stride`` pixels, with h = w = image size / ``target_stride``, rounded up. There is no
    chance in them. Where the images have a mask, only squares that are wholly inside it count. Metrics, over these:
    ``correlation`` of the predicted map and the true one, -1..1, 0 by chance or where the same is predicted everywhere;
    ``error``, the mean distance between them, 0..1.

    There is nothing for the audit to probe, so that ``probe_labels`` is left as it is: a view has no one answer, but
    one at each place.

    State: none but the weights.

    Raises:
        ValueError: by ``view_sizes``, if the squares are too large for the image or its mask.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Saliency(SaliencyConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
        >>> views = task.make_views(images, torch.Generator())
        >>> views["saliency"].shape, task(views).loss.shape
        (torch.Size([2, 8, 8]), torch.Size([]))
    """

    name = "saliency"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = SaliencyConfig
    family = "generation"
    paper = "map: Achanta et al. 2008, ICVS, or Achanta et al. 2009, CVPR"

    counted: torch.Tensor

    def __init__(self, config: SaliencyConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.register_buffer("counted", _counted(config, context), persistent=False)
        side = math.ceil(context.image_size / config.target_stride)
        self.decoder = MapDecoder(feature_map_shape(backbone, context.image_size), 1, side)

    @classmethod
    def view_sizes(cls, config: SaliencyConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the images' own size.

        Raises:
            ValueError: if fewer than two squares are wholly inside the mask, so that none stands out from another.
        """
        size, stride = context.image_size, config.target_stride
        if int(_counted(config, context).sum()) < 2:
            where = f"images of {size} px" if context.mask is None else f"the mask of images of {size} px"
            raise ValueError(
                f"target_stride = {stride} is too large for {where}: there are no two squares of which one could "
                "stand out; give a smaller one, or a larger images.size"
            )
        return (size,)

    @classmethod
    def supports(cls, config: SaliencyConfig, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why a network gives no feature map to predict from, or None if it does."""
        return why_no_feature_map(backbone, context.image_size)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Compute the maps; there is no chance in it."""
        saliency = saliency_map(images, self.context.mask, self.config.map)
        saliency = F.avg_pool2d(saliency[:, None], self.config.target_stride, ceil_mode=True)[:, 0]
        return {"images": images.clone(), "saliency": saliency}

    def forward(self, views: Views) -> StepOutput:
        """Predict the maps, and compare them with those computed."""
        logits, targets = self.predict(views["images"]), views["saliency"]
        with torch.autocast(logits.device.type, enabled=False):
            loss = saliency_loss(logits, targets, self.counted)
            predicted = logits.detach().sigmoid()
            error = ((predicted - targets).abs() * self.counted).sum() / (len(targets) * self.counted.sum())
            metrics = {"correlation": correlation(predicted, targets, self.counted), "error": error}
        return StepOutput(loss, metrics)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits of the saliency of the squares, float32 (N, h, w), of images, uint8 (N, 3, H, W)."""
        x = normalize(images, self.context.mean, self.context.std)
        logits: torch.Tensor = self.decoder(feature_map(self.encoder, x))
        return logits.float().squeeze(1)


def _counted(config: SaliencyConfig, context: TaskContext) -> torch.Tensor:
    """Return which squares are wholly inside the mask, bool (h, w)."""
    return squares_in_mask(context.image_size, config.target_stride, context.mask)


def _centred(maps: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return maps (N, h, w) less their mean over the places that count, and 0 at the others."""
    means = (maps * counted).sum(dim=(1, 2), keepdim=True) / counted.sum()
    return (maps - means) * counted


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the saliency task."""
    return (Saliency,)
