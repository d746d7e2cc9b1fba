"""VICReg: two views of an image are to have one projection, whose features keep their variance and do not correlate.

Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning", ICLR
2022, arXiv 2105.04906. Three terms, for three things: invariance brings the projections of two views together; variance
keeps the standard deviation of each feature over the batch at 1 or more, against collapse; covariance keeps features
from saying the same (equations 1 to 6). There are no negatives, no predictor, no momentum copy and no stopped gradient.

Deviations from the paper:

- Views are those of sslkit, both drawn alike: no solarisation (an eye with its bright parts inverted is none).
- Projections have 256 features and the hidden layers 1024, not 8192 each. N images span N - 1 dimensions, so that the
  covariance of D features has a floor of D / (N - 1) - 1 times the fourth power of their standard deviation: with many
  features and few images the loss makes projections small. With 256 and 32 they come to 0.95 at best, with 1024 to 0.58
  (the paper's 8192 and 2048: 1).
- Both views go through the network in one pass of 2N rows, so that BatchNorm's statistics are of both. Variance and
  covariance are of each view by itself, as in the paper.
- Invariance is averaged over the features, as in the paper's algorithm 1; equation 5 adds them up. The weights 25, 25
  and 1 are for the average.
- The optimiser is AdamW, not LARS.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

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

_WANTED_STD = 1.0
"""The standard deviation below which a feature costs something; gamma in the paper."""

_LEAST_VARIANCE = 1e-4
"""What is added to a variance, so that its root has a finite gradient; epsilon in the paper."""


class VICRegConfig(PluginConfig):
    """Options of the VICReg task.

    Attributes:
        hidden_width: features of each of the projector's two hidden layers; 8192 in the paper.
        width: features of a projection; 8192 in the paper, with batches of 2048. Much more of them than 7 times the
            images of a batch make projections small.
        invariance: weight of the distance between two views; lambda in the paper.
        variance: weight of the standard deviation that features lack; mu in the paper.
        covariance: weight of the covariance of different features; nu in the paper.
        views: what is done to an image to make a view of it.
    """

    hidden_width: int = Field(1024, ge=8, le=16384)
    width: int = Field(256, ge=2, le=16384)
    invariance: float = Field(25.0, gt=0, le=1000)
    variance: float = Field(25.0, gt=0, le=1000)
    covariance: float = Field(1.0, ge=0, le=1000)
    views: ViewsConfig = ViewsConfig()


def invariance_term(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of the projections of two views.

    Bardes et al. 2022, arXiv 2105.04906, equation 5, divided by D as in algorithm 1.

    Args:
        first: projections of one view of each image, float (N, D).
        second: those of the other view, float (N, D).

    Returns:
        0-d, of the same dtype.

    Example:
        >>> invariance_term(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 0.0]])).item()
        2.0
    """
    return F.mse_loss(first, second)


def variance_term(z: torch.Tensor) -> torch.Tensor:
    """Return how much features lack of a standard deviation of 1, on average.

    Bardes et al. 2022, arXiv 2105.04906, equations 1 and 2: the mean of ``max(0, 1 - sqrt(Var(z_j) + 1e-4))``.

    Args:
        z: projections of one view of each image, float (N, D), N two or more.

    Returns:
        0-d, of the same dtype, 0 (none lacks any) to 0.99 (all are constant).

    Example:
        >>> round(variance_term(torch.tensor([[3.0, 1.0], [-3.0, 1.0]])).item(), 3)
        0.495
    """
    return (_WANTED_STD - (z.var(dim=0) + _LEAST_VARIANCE).sqrt()).relu().mean()


def covariance_term(z: torch.Tensor) -> torch.Tensor:
    """Return the sum of the squared covariances of different features, divided by their number.

    Bardes et al. 2022, arXiv 2105.04906, equations 3 and 4.

    Args:
        z: projections of one view of each image, float (N, D), N two or more.

    Returns:
        0-d, of the same dtype.

    Example:
        >>> covariance_term(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item()
        4.0
    """
    num_images, width = z.shape
    centred = z - z.mean(dim=0)
    covariances = centred.T @ centred / (num_images - 1)
    return (covariances - covariances.diagonal().diag()).square().sum() / width


class VICReg(PretextTask[VICRegConfig]):
    """Learns one projection for two views of an image, of features that vary and do not correlate.

    Views: ``images``, uint8 (2N, 3, H, W), whose row 2 i + v is view v of image i. Metrics, all without their weights:
    ``invariance``; ``variance``, of both views together, 0 at best and 1.98 in collapse; ``covariance``, of both views
    together; ``projection_std``, the mean standard deviation of a feature over the batch, 1 at best and 0 in collapse.
    State: none beyond the networks.

    Attributes:
        projector: from the representation h to the projection z; the paper calls it expander.

    Raises:
        ValueError: if a batch has fewer than two images.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = VICReg(VICRegConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> task(task.make_views(images, torch.Generator())).loss.shape
        torch.Size([])
    """

    name = "vicreg"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = VICRegConfig
    family = "redundancy reduction"
    paper = "Bardes, Ponce and LeCun 2022, arXiv 2105.04906"
    min_batch_size = 2

    def __init__(self, config: VICRegConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        features: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.projector = make_projector([features, config.hidden_width, config.hidden_width, config.width])

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Draw two views of each image."""
        return {"images": augmented_views(images, generator, self.config.views, self.context.mask)}

    def forward(self, views: Views) -> StepOutput:
        """Weigh the three terms of the projections (equation 6)."""
        images = normalize(views["images"], self.context.mean, self.context.std)
        if len(images) < 2 * self.min_batch_size:
            raise ValueError("VICReg needs two images a batch: over one there is no variance")
        z = self.projector(representation(self.encoder, images))
        with torch.autocast(z.device.type, enabled=False):
            first, second = gather(z.float().unflatten(0, (-1, 2))).unbind(dim=1)
            invariance = invariance_term(first, second)
            variance = variance_term(first) + variance_term(second)
            covariance = covariance_term(first) + covariance_term(second)
            weights = self.config
            loss = weights.invariance * invariance + weights.variance * variance + weights.covariance * covariance
        metrics = {
            "invariance": invariance,
            "variance": variance,
            "covariance": covariance,
            "projection_std": (first.std(dim=0).mean() + second.std(dim=0).mean()) / 2,
        }
        return StepOutput(loss, {name: value.detach() for name, value in metrics.items()})


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the VICReg task."""
    return (VICReg,)
