"""Colorization: which colours has the grey image lost?

Zhang, Isola and Efros, "Colorful Image Colorization", ECCV 2016, arXiv 1603.08511. From the lightness of an image, the
encoder and a decoder predict a distribution over quantised colours at every place (equation 2), in which rare colours
count for more (equations 3 and 4).

The network is the backbone that is given, with a decoder on its last map, and not the paper's; the loss is the mean
over the places, and not their sum; the bins are those that the gamut of sRGB has. The paper's other numbers are kept:
bins 10 units apart, the five nearest, sigma 5, lambda 0.5, and the annealed mean's temperature 0.38.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

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
    grey_of,
    hookimpl,
    lab_of,
    normalize,
    srgb_of,
    why_no_feature_map,
)
from sslkit_colorization.bins import (
    annealed_mean,
    bins_in_gamut,
    nearest_bins,
    rebalancing_weights,
    smoothed,
    soft_encode,
)

__all__ = ["Colorization", "ColorizationConfig", "colorization_loss", "colorize"]

_FIT_CHUNK = 8
"""Images at a time: their distances from all bins are 26 MB at 224 pixels."""

_SHOWN_LIGHTNESS = 65.0
"""L* at which colours are shown without their lightness: sRGB has nearly all colours of photographs there."""


class ColorizationConfig(PluginConfig):
    """Options of the colorization task.

    Attributes:
        bin_size: spacing of the colours that are told apart, in units of L*a*b*: 10 gives 261 of them. The kernel that
            spreads a colour over its nearest bins is half as wide.
        mixing: how much of the uniform distribution is mixed into that of the colours before rare ones are weighed up:
            at 1 all colours count alike, towards 0 the rarest count most.
        target_stride: side in pixels of the square over which colours are averaged to be predicted.
    """

    bin_size: int = Field(10, ge=5, le=25)
    mixing: float = Field(0.5, gt=0, le=1)
    target_stride: int = Field(4, ge=1, le=64)


def colorization_loss(
    logits: torch.Tensor, nearest: torch.Tensor, shares: torch.Tensor, weights: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor:
    """Return the rebalanced cross-entropy of predicted colours (equations 2 and 3), averaged over the places.

    Args:
        logits: float32 (N, Q, H, W).
        nearest: the bins that each place's colour is spread over, int64 (N, 5, H, W), nearest first.
        shares: what each of them has of it, float32 (N, 5, H, W).
        weights: of the bins, float32 (Q,); a place has that of its nearest bin.
        counted: bool (H, W): the places that count, one at least.

    Returns:
        0-d float32.

    Example:
        >>> nearest = torch.arange(5).view(1, 5, 1, 1)
        >>> shares = torch.full((1, 5, 1, 1), 0.2)
        >>> counted = torch.ones(1, 1, dtype=torch.bool)
        >>> colorization_loss(torch.zeros(1, 5, 1, 1), nearest, shares, torch.ones(5), counted)  # log 5
        tensor(1.6094)
    """
    log_probabilities = F.log_softmax(logits, dim=1).gather(1, nearest)
    cross_entropy = -(shares * log_probabilities).sum(dim=1)
    return _mean_over(weights[nearest[:, 0]] * cross_entropy, counted)


class Colorization(PretextTask[ColorizationConfig]):
    """Learns to predict the colours of an image from its lightness.

    Views: ``images``, uint8 (N, 3, H, W), grey, with the lightness of the images; ``ab``, float32 (N, 2, h, w), their
    colours, averaged over squares of ``target_stride`` pixels, with h = w = image size / ``target_stride``, rounded up.
    Where the images have a mask, only squares that are wholly inside it count. Metrics, over these: ``accuracy``, how
    often the likeliest bin is the nearest one, 0..1; ``colour_error``, the mean distance on the ab plane between the
    predicted and the true colour, in units of L*a*b*.

    There is nothing for the audit to probe, so that ``probe_labels`` is left as it is: a view has no one answer, but a
    colour at each place.

    State: ``prior``, the smoothed distribution of colours among the images that ``fit`` was given, uniform before.

    The logits of a batch of 32 images of 224 pixels with 261 bins take 105 MB in float32, and the loss with its
    gradient 300 MB more; ``target_stride = 8`` takes a quarter.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Colorization(ColorizationConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
        >>> task.fit(images)
        >>> views = task.make_views(images, torch.Generator())
        >>> views["ab"].shape, task(views).loss.shape
        (torch.Size([2, 2, 8, 8]), torch.Size([]))
    """

    name = "colorization"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = ColorizationConfig
    family = "generation"
    paper = "Zhang, Isola and Efros 2016, arXiv 1603.08511"

    bins: torch.Tensor
    counted: torch.Tensor
    prior: torch.Tensor

    def __init__(self, config: ColorizationConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        bins = bins_in_gamut(config.bin_size).clone()
        self.register_buffer("bins", bins, persistent=False)
        self.register_buffer("counted", _counted(config, context), persistent=False)
        self.register_buffer("prior", torch.full((len(bins),), 1 / len(bins)))
        map_shape = feature_map_shape(backbone, context.image_size)
        self.decoder = MapDecoder(map_shape, len(bins), len(self.counted), narrowest=128)

    @classmethod
    def view_sizes(cls, config: ColorizationConfig, context: TaskContext) -> tuple[int, ...]:
        """Return the images' own size.

        Raises:
            ValueError: if no square of ``target_stride`` pixels is wholly inside the mask, or one is all of the image.
        """
        size, stride = context.image_size, config.target_stride
        if size <= stride or not _counted(config, context).any():
            where = f"images of {size} px" if context.mask is None else f"the mask of images of {size} px"
            raise ValueError(
                f"target_stride = {stride} is too large for {where}: there is no colour to predict beside another; "
                "give a smaller one, or a larger images.size"
            )
        return (size,)

    @classmethod
    def supports(cls, config: ColorizationConfig, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why the network gives no feature map, or None if it gives one."""
        return why_no_feature_map(backbone, context.image_size)

    def fit(self, images: torch.Tensor) -> None:
        """Count the colours of the images, uint8 (M, 3, H, W), at the places and in the size of the targets."""
        counts = torch.zeros(len(self.bins), dtype=torch.int64)
        for chunk in torch.split(images, _FIT_CHUNK):
            nearest = nearest_bins(self._targets(chunk), self.bins)
            counts += nearest[:, self.counted].flatten().bincount(minlength=len(counts))
        self.prior.copy_(smoothed(counts / counts.sum(), self.bins, self._sigma))

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Part the images into lightness and colours; there is no chance in it."""
        return {"images": grey_of(images), "ab": self._targets(images)}

    def show_views(self, views: Views) -> Views:
        """Return the grey images, and the colours at one lightness, uint8 (N, 3, h, w)."""
        lightness = torch.full_like(views["ab"][:, :1], _SHOWN_LIGHTNESS)
        return {"images": views["images"], "ab": srgb_of(torch.cat([lightness, views["ab"]], dim=1))}

    def forward(self, views: Views) -> StepOutput:
        """Predict the colours, and compare them with those that were there."""
        logits = self.predict(views["images"])
        ab = views["ab"]
        with torch.autocast(logits.device.type, enabled=False):  # colours need more digits than bf16 has
            nearest, shares = soft_encode(ab, self.bins, self._sigma)
            weights = rebalancing_weights(self.prior, self.config.mixing)
            loss = colorization_loss(logits, nearest, shares, weights, self.counted)
            guessed = logits.detach()
            hits = (guessed.argmax(dim=1) == nearest[:, 0]).float()
            errors = torch.linalg.vector_norm(annealed_mean(guessed, self.bins) - ab, dim=1)
        metrics = {"accuracy": _mean_over(hits, self.counted), "colour_error": _mean_over(errors, self.counted)}
        return StepOutput(loss, metrics)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of the colours, float32 (N, Q, h, w), of grey images, uint8 (N, 3, H, W)."""
        x = normalize(images, self.context.mean, self.context.std)
        logits: torch.Tensor = self.decoder(feature_map(self.encoder, x))
        return logits.float()

    @property
    def _sigma(self) -> float:
        return self.config.bin_size / 2

    def _targets(self, images: torch.Tensor) -> torch.Tensor:
        return F.adaptive_avg_pool2d(lab_of(images)[:, 1:], len(self.counted))


@torch.no_grad()
def colorize(task: Colorization, images: torch.Tensor) -> torch.Tensor:
    """Return images in the colours that a task predicts from their lightness (equation 5), to look at.

    Args:
        task: in eval mode, on the images' device.
        images: uint8 (N, 3, H, W); of their colours, nothing is used.

    Returns:
        uint8 (N, 3, H, W).

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Colorization(ColorizationConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> colorize(task.eval(), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
        torch.Size([2, 3, 32, 32])
    """
    grey = grey_of(images)
    ab = annealed_mean(task.predict(grey), task.bins)
    ab = F.interpolate(ab, size=images.shape[2:], mode="bilinear")
    return srgb_of(torch.cat([lab_of(grey)[:, :1], ab], dim=1))


def _counted(config: ColorizationConfig, context: TaskContext) -> torch.Tensor:
    """Return which squares are wholly inside the mask, bool (h, w)."""
    side = -(-context.image_size // config.target_stride)
    if context.mask is None:
        return torch.ones(side, side, dtype=torch.bool)
    outside = F.adaptive_max_pool2d((~context.mask)[None].float(), side)
    return outside[0] == 0


def _mean_over(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the mean of values (N, H, W) at the places that count."""
    return (values * counted).sum() / (len(values) * counted.sum())


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the colorization task."""
    return (Colorization,)
