"""SimSiam: predict one's own projection of another view of the same image, without following it.

Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, arXiv 2011.10566. The encoder and a
projector give a projection z of each of two views; a predictor with a bottleneck is to make the one of the other. The
gradient goes through the prediction and is stopped at the projection (algorithm 1): that, the predictor and BatchNorm
are all that stand between it and collapse. There are no negatives and no momentum copy.

Deviations from the paper:

- Views are those of sslkit (the paper, too, has no solarisation).
- Both views go through the network in one pass of 2N rows, so that BatchNorm's statistics are of both.
- Projections have 1024 features, not 2048, and the bottleneck 256, not 512: as wide as DenseNet121's representation and
  a quarter of it, as the paper's are of ResNet-50's.
- The predictor's learning rate falls with that of the rest; the paper found it slightly better to keep it up.
- The optimiser is AdamW, not SGD.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

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
    ViewsConfig,
    augmented_views,
    hookimpl,
    make_projector,
    normalize,
    projection_spread,
    representation,
)


class SimSiamConfig(PluginConfig):
    """Options of the SimSiam task.

    Attributes:
        width: features of each layer of the projector. The paper has 2048, the width of ResNet-50's representation;
            this is that of DenseNet121's.
        bottleneck: features of the predictor's hidden layer; a quarter of ``width`` in the paper, and less than it in
            any case.
        views: what is done to an image to make a view of it.
    """

    width: int = Field(1024, ge=8, le=16384)
    bottleneck: int = Field(256, ge=2, le=16384)
    views: ViewsConfig = ViewsConfig()

    @model_validator(mode="after")
    def _is_narrower(self) -> SimSiamConfig:
        if self.bottleneck >= self.width:
            raise ValueError(
                f"bottleneck = {self.bottleneck} is not narrower than width = {self.width}, and without a bottleneck "
                "the training can fail; a quarter of the width is usual"
            )
        return self


def simsiam_loss(p: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return the negative cosine similarity of predictions with the projections of the other view.

    Chen and He 2021, arXiv 2011.10566, equation 4: ``-cos(p_1, z_2) / 2 - cos(p_2, z_1) / 2``, averaged over the
    images.

    Args:
        p: predictions, float (N, 2, D): of both views of each image.
        z: projections, float (N, 2, D); no gradient goes through them.

    Returns:
        0-d float32, from -1 (the same directions) over 0 (orthogonal) to 1 (opposite).

    Example:
        >>> p, z = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[[0.0, 5.0], [0.0, 5.0]]])
        >>> simsiam_loss(p, z).item()
        -0.5
    """
    with torch.autocast(p.device.type, enabled=False):
        return -F.cosine_similarity(p.float(), z.detach().float().flip(1), dim=2).mean()


class SimSiam(PretextTask[SimSiamConfig]):
    """Learns to predict its own projection of another view of the image, with the gradient stopped there.

    Views: ``images``, uint8 (2N, 3, H, W), whose row 2 i + v is view v of image i. Metrics: ``projection_spread``,
    0..1, of the projections of the batch: 0 where all are one direction, which is collapse; near 1 where none is
    preferred. The loss itself tells nothing of collapse: a constant makes it -1. State: none beyond the networks.

    Attributes:
        projector: from the representation h to the projection z, whose last layer is BatchNorm.
        predictor: from the projection of a view to that of the other, through a bottleneck.

    Raises:
        ValueError: if a batch has fewer than two images.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = SimSiam(SimSiamConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> task(task.make_views(images, torch.Generator())).loss.shape
        torch.Size([])
    """

    name = "simsiam"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = SimSiamConfig
    family = "self-distillation"
    paper = "Chen and He 2021, arXiv 2011.10566"
    min_batch_size = 2

    def __init__(self, config: SimSiamConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        features: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.projector = make_projector([features, config.width, config.width, config.width], last_norm=True)
        self.predictor = make_projector([config.width, config.bottleneck, config.width])

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Draw two views of each image."""
        return {"images": augmented_views(images, generator, self.config.views, self.context.mask)}

    def forward(self, views: Views) -> StepOutput:
        """Compare the predictions of each view with the projections of the other."""
        images = normalize(views["images"], self.context.mean, self.context.std)
        if len(images) < 2 * self.min_batch_size:
            raise ValueError("SimSiam needs two images a batch: BatchNorm would make the views of one opposite")
        z = self.projector(representation(self.encoder, images))
        p = self.predictor(z)
        loss = simsiam_loss(p.unflatten(0, (-1, 2)), z.unflatten(0, (-1, 2)))
        return StepOutput(loss, {"projection_spread": projection_spread(z)})


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the SimSiam task."""
    return (SimSiam,)
