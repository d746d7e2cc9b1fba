"""SimCLR: which two views are of one image?

Chen, Kornblith, Norouzi and Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020,
arXiv 2002.05709. Each image gives two random views. A projection head maps the representation of each to a point on a
sphere, and the loss (NT-Xent, equation 1) draws the two points of an image together and pushes all others of the batch
apart. Deviations from the paper:

- The views are sslkit's: the jitter of colours is smaller than for natural images, and views are turned as well.
- A view shows a fifth of an image's area at least, as Chen et al. 2020b (arXiv 2003.04297) have it, not 8 %.
- AdamW in place of LARS, batches as large as the run makes them, any backbone.
- BatchNorm takes its statistics from the views of one process; the paper takes them from all.
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

VIEWS_AN_IMAGE = 2


class SimCLRConfig(PluginConfig):
    """Options of SimCLR.

    Attributes:
        temperature: what similarities are divided by. A small one looks at the most similar views of other images
            alone, a large one at all alike. The paper's best is 0.1 (table 5).
        projection: features of the projection that is compared; the layer before it has as many as the representation.
        views: what is done to an image to make a view of it.
    """

    temperature: float = Field(0.1, ge=0.01, le=10)
    projection: int = Field(128, ge=2, le=8192)
    views: ViewsConfig = ViewsConfig()


def similarities(z: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return how similar each projection is to each other: the cosine of their angle over the temperature.

    Args:
        z: float (2N, D), of any length but 0.
        temperature: above 0.

    Returns:
        (2N, 2N) in the dtype of ``z``; minus infinity on the diagonal, where a projection meets itself.

    Example:
        >>> similarities(torch.tensor([[3.0, 0.0], [0.0, 2.0]]), temperature=0.5).tolist()
        [[-inf, 0.0], [0.0, -inf]]
    """
    directions = F.normalize(z, dim=1)
    # Scaled before they are multiplied: 2N x D numbers, not 2N x 2N.
    cosines = (directions / temperature) @ directions.T
    return cosines.masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)


def partners(num_views: int, device: torch.device | None = None) -> torch.Tensor:
    """Return the row of each view's other view, where rows 2 i and 2 i + 1 are of image i: int64 (num_views,).

    Example:
        >>> partners(4).tolist()
        [1, 0, 3, 2]
    """
    return torch.arange(num_views, device=device) ^ 1


def nt_xent(logits: torch.Tensor) -> torch.Tensor:
    """Return the normalised, temperature-scaled cross-entropy of which view is whose other one.

    Chen et al. 2020, equation 1, averaged over all 2N views. It is log(2N - 1) where all projections are the same.

    Args:
        logits: float (2N, 2N), from `similarities`; rows 2 i and 2 i + 1 are of image i.

    Returns:
        0-d, in the dtype of the logits.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [-5.0, 0.0]])
        >>> nt_xent(similarities(z, temperature=0.1)).item() < 1e-6
        True
    """
    return F.cross_entropy(logits, partners(len(logits), logits.device))


class SimCLR(PretextTask[SimCLRConfig]):
    """Learns which two of a batch's views are of the same image.

    Views: ``images``, uint8 (2N, 3, H, W); rows 2 i and 2 i + 1 are of image i. Metrics: ``accuracy``, 0..1: of how
    many views the other view of the same image is the most similar one; chance is 1 / (2N - 1), and near it is what a
    collapsed encoder scores. With several processes, N counts the images of all. State: none but weights.

    Raises:
        ValueError: if a batch has fewer than two images, which leave nothing to tell apart.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = SimCLR(SimCLRConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> views = task.make_views(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.Generator())
        >>> views["images"].shape, task(views).loss.shape
        (torch.Size([6, 3, 32, 32]), torch.Size([]))
    """

    name = "simclr"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = SimCLRConfig
    family = "contrast"
    paper = "Chen et al. 2020, arXiv 2002.05709"
    min_batch_size = 2

    def __init__(self, config: SimCLRConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        width: Any = backbone.head_hidden_size
        self.projector = make_projector([width, width, config.projection])

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Make two random views of each image."""
        views = augmented_views(images, generator, self.config.views, self.context.mask, num_views=VIEWS_AN_IMAGE)
        return {"images": views}

    def forward(self, views: Views) -> StepOutput:
        """Tell the other view of each image from all other views, of all processes."""
        if len(views["images"]) < self.min_batch_size * VIEWS_AN_IMAGE:
            raise ValueError("SimCLR tells images apart, and one image is no batch; it takes 2 images or more")
        images = normalize(views["images"], self.context.mean, self.context.std)
        projections = self.projector(representation(self.encoder, images))
        # Single precision at least: cosines are divided by a temperature, and exponentiated.
        z = gather(projections.to(torch.promote_types(projections.dtype, torch.float32)))
        with torch.autocast(z.device.type, enabled=False):
            logits = similarities(z, self.config.temperature)
            loss = nt_xent(logits)
        accuracy = (logits.detach().argmax(dim=1) == partners(len(z), z.device)).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce SimCLR."""
    return (SimCLR,)
