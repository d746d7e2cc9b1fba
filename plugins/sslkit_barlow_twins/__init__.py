"""Barlow Twins: each number of a projection is to say the same of two views, and something else than the others.

Zbontar, Jing, Misra, LeCun and Deny, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
arXiv 2103.03230. The cross-correlation, over a batch, of the projections of two views is brought towards the identity
matrix (equations 1 and 2). There are no negatives, no predictor, no momentum copy and no stopped gradient: a constant
correlates with nothing, and so does not pay.

Deviations from the paper:

- Views are those of sslkit, both drawn alike: no solarisation (an eye with its bright parts inverted is none), and no
  different shares of blur for the first and the second view.
- Projections have 256 features and the hidden layers 1024, not 8192 each. Correlations over N images are off by
  1 / sqrt(N - 1) by chance alone, and what that puts off the diagonal weighs lambda D / N against what is on it: with
  256 features and 32 images as much as with the paper's 8192 and 1024. With 1024 features and a dozen images the loss
  did not fall.
- Both views go through the network in one pass of 2N rows, so that BatchNorm's statistics are of both. Correlations are
  of each view's own mean and standard deviation, as in the paper.
- The variance has 1e-5 added, so that a feature that is constant over the batch has a finite gradient.
- The optimiser is AdamW, not LARS, and the loss is not scaled for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from sslkit import (
    PluginConfig,
    PretextTask,
    StepOutput,
    TaskContext,
    Views,
    ViewsConfig,
    augmented_views,
    gather,
    hookimpl,
    make_projector,
    normalize,
    representation,
)

_LEAST_VARIANCE = 1e-5
"""What is added to a variance; BatchNorm's own."""


class BarlowTwinsConfig(PluginConfig):
    """Options of the Barlow Twins task.

    Attributes:
        hidden_width: features of each of the projector's two hidden layers; 8192 in the paper.
        width: features of a projection; 8192 in the paper, with batches of 2048. Much more of them than 8 times the
            images of a batch teach less: chance outweighs the rest.
        redundancy: weight of a squared correlation off the diagonal; lambda in the paper.
        views: what is done to an image to make a view of it.
    """

    hidden_width: int = Field(1024, ge=8, le=16384)
    width: int = Field(256, ge=2, le=16384)
    redundancy: float = Field(0.0051, ge=0, lt=1)
    views: ViewsConfig = ViewsConfig()


def cross_correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return how each feature of the first views goes with each of the second, over a batch.

    Zbontar et al. 2021, arXiv 2103.03230, equation 2, of features less their means.

    Args:
        first: projections of one view of each image, float (N, D).
        second: those of the other view, float (N, D).

    Returns:
        Pearson's correlations, float32 (D, D), in -1..1; near 0 where a feature is constant.

    Example:
        >>> z = torch.tensor([[1.0, 3.0], [-1.0, 3.0]])
        >>> cross_correlation(z, 10 * z).round(decimals=3).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    with torch.autocast(first.device.type, enabled=False):
        return _standardized(first.float()).T @ _standardized(second.float()) / len(first)


def barlow_twins_loss(correlations: torch.Tensor, redundancy: float) -> torch.Tensor:
    """Return how far cross-correlations are from the identity matrix.

    Zbontar et al. 2021, arXiv 2103.03230, equation 1: the sum of ``(1 - C_ii)^2`` over the features, and ``redundancy``
    times the sum of ``C_ij^2`` over pairs of different ones.

    Args:
        correlations: float (D, D), from `cross_correlation`.
        redundancy: weight of what is off the diagonal.

    Returns:
        0-d, of the same dtype, 0 or more.

    Example:
        >>> barlow_twins_loss(torch.tensor([[1.0, 0.5], [0.5, 0.0]]), redundancy=0.5).item()
        1.25
    """
    diagonal = correlations.diagonal()
    return (1 - diagonal).square().sum() + redundancy * _off_diagonal(correlations).square().sum()


class BarlowTwins(PretextTask[BarlowTwinsConfig]):
    """Learns features that say the same of two views of an image, and each something else.

    Views: ``images``, uint8 (2N, 3, H, W), whose row 2 i + v is view v of image i. Metrics: ``agreement``, the mean
    correlation of a feature with itself in the other view, 1 at best, 0 by chance and in collapse; ``redundancy``, the
    root mean square of that with other features, 1 / sqrt(N - 1) by chance. State: none beyond the networks.

    Attributes:
        projector: from the representation h to the projection z.

    Raises:
        ValueError: if a batch has fewer than two images.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = BarlowTwins(BarlowTwinsConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> task(task.make_views(images, torch.Generator())).loss.shape
        torch.Size([])
    """

    name = "barlow-twins"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = BarlowTwinsConfig
    family = "redundancy reduction"
    paper = "Zbontar et al. 2021, arXiv 2103.03230"
    min_batch_size = 2

    def __init__(self, config: BarlowTwinsConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        features: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.projector = make_projector([features, config.hidden_width, config.hidden_width, config.width])

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Draw two views of each image."""
        return {"images": augmented_views(images, generator, self.config.views, self.context.mask)}

    def forward(self, views: Views) -> StepOutput:
        """Correlate the projections of the two views over the batch."""
        images = normalize(views["images"], self.context.mean, self.context.std)
        if len(images) < 2 * self.min_batch_size:
            raise ValueError("Barlow Twins needs two images a batch: nothing can be correlated over one")
        z = self.projector(representation(self.encoder, images))
        correlations = cross_correlation(*gather(z.unflatten(0, (-1, 2))).unbind(dim=1))
        loss = barlow_twins_loss(correlations, self.config.redundancy)
        return StepOutput(loss, _metrics(correlations.detach()))


def _metrics(correlations: torch.Tensor) -> dict[str, torch.Tensor]:
    width = len(correlations)
    others = _off_diagonal(correlations).square().sum() / (width * (width - 1))
    return {"agreement": correlations.diagonal().mean(), "redundancy": others.sqrt()}


def _off_diagonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return a square matrix with zeros on its diagonal."""
    return matrix - matrix.diagonal().diag()


def _standardized(z: torch.Tensor) -> torch.Tensor:
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return (z - mean) * (variance + _LEAST_VARIANCE).rsqrt()


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the Barlow Twins task."""
    return (BarlowTwins,)
