"""BYOL: predict what a slower copy of the network says of another view of the same image.

Grill, Strub, Altché, Tallec, Richemond, Buchatskaya, Doersch, Avila Pires, Guo, Gheshlaghi Azar, Piot, Kavukcuoglu,
Munos and Valko, "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning", NeurIPS 2020, arXiv
2006.07733. The online network is the encoder, a projector and a predictor. The target network is a momentum copy of
encoder and projector; no gradient reaches it. The predictor's answer to one view is to have the direction of the
target's projection of the other one. There are no negatives.

Deviations from the paper:

- Views are those of sslkit, both drawn alike: no solarisation (an eye with its bright parts inverted is none), and no
  different shares of blur for the first and the second view.
- Both views go through a network in one pass of 2N rows, so that BatchNorm's statistics are of both.
- The heads have a hidden layer of 2048 features, not 4096: twice DenseNet121's representation, as the paper's is twice
  that of ResNet-50.
- The momentum rises from 0.99, not 0.996: here a pretraining has thousands of updates, not 300,000. The paper has 0.99
  where it trains for a shorter time (table 5a).
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
    follow,
    hookimpl,
    make_projector,
    momentum_copy,
    normalize,
    projection_spread,
    representation,
    rising_momentum,
)


class BYOLConfig(PluginConfig):
    """Options of the BYOL task.

    Attributes:
        hidden_width: features of the hidden layer of projector and predictor. The paper has 4096, twice the width of
            ResNet-50's representation; this is twice that of DenseNet121's.
        width: features of a projection, and of a prediction of one.
        momentum: of the target network at the beginning; rises to 1 by half a cosine. 0 makes the target the network
            itself as it was one update ago, which in the paper collapsed.
        views: what is done to an image to make a view of it.
    """

    hidden_width: int = Field(2048, ge=8, le=16384)
    width: int = Field(256, ge=8, le=16384)
    momentum: float = Field(0.99, ge=0, lt=1)
    views: ViewsConfig = ViewsConfig()


def byol_loss(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return how far predictions lie from the target's projections of the other view.

    Grill et al. 2020, arXiv 2006.07733, equation 2, in both directions: ``2 - 2 cos(p_1, z_2) + 2 - 2 cos(p_2, z_1)``,
    averaged over the images.

    Args:
        p: predictions, float (N, 2, D): of both views of each image.
        z: projections by the target network, float (N, 2, D); taken as constants.

    Returns:
        0-d float32, from 0 (the same directions) over 4 (orthogonal) to 8 (opposite).

    Example:
        >>> p, z = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[0.0, 5.0], [0.0, 5.0]]])
        >>> byol_loss(p, z).item()
        2.0
    """
    with torch.autocast(p.device.type, enabled=False):
        cosines = F.cosine_similarity(p.float(), z.detach().float().flip(1), dim=2)
        return (2 - 2 * cosines).sum(dim=1).mean()


class BYOL(PretextTask[BYOLConfig]):
    """Learns to predict what a slower copy of itself says of another view of the image.

    Views: ``images``, uint8 (2N, 3, H, W), whose row 2 i + v is view v of image i. Metrics: ``projection_spread``,
    0..1, of the online projections of the batch: 0 where all are one direction, which is collapse; near 1 where none is
    preferred. The loss itself tells nothing of collapse: a constant makes it 0. State: the target network, as
    parameters without gradient, and the statistics of its BatchNorm.

    Attributes:
        projector: from the representation h to the projection z.
        predictor: from the projection of a view to that of the other.
        target_encoder: momentum copy of the encoder.
        target_projector: momentum copy of the projector.

    Raises:
        ValueError: if a batch has fewer than two images.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = BYOL(BYOLConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> task(task.make_views(images, torch.Generator())).loss.shape
        torch.Size([])
    """

    name = "byol"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = BYOLConfig
    family = "self-distillation"
    paper = "Grill et al. 2020, arXiv 2006.07733"
    min_batch_size = 2

    def __init__(self, config: BYOLConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        features: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.projector = make_projector([features, config.hidden_width, config.width])
        self.predictor = make_projector([config.width, config.hidden_width, config.width])
        self.target_encoder = momentum_copy(backbone)
        self.target_projector = momentum_copy(self.projector)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Draw two views of each image."""
        return {"images": augmented_views(images, generator, self.config.views, self.context.mask)}

    def forward(self, views: Views) -> StepOutput:
        """Compare the predictions of each view with the target's projections of the other."""
        images = normalize(views["images"], self.context.mean, self.context.std)
        if len(images) < 2 * self.min_batch_size:
            raise ValueError("BYOL needs two images a batch: BatchNorm would make the views of one opposite")
        z = self.projector(representation(self.encoder, images))
        p = self.predictor(z)
        with torch.no_grad():
            targets = self.target_projector(representation(self.target_encoder, images))
        loss = byol_loss(p.unflatten(0, (-1, 2)), targets.unflatten(0, (-1, 2)))
        return StepOutput(loss, {"projection_spread": projection_spread(z)})

    def after_update(self, output: StepOutput, progress: float) -> None:
        """Move the target network towards the online one."""
        momentum = rising_momentum(self.config.momentum, progress)
        follow(self.target_encoder, self.encoder, momentum)
        follow(self.target_projector, self.projector, momentum)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the BYOL task."""
    return (BYOL,)
