"""MoCo: which of many keys is of the same image as the query?

He, Fan, Wu, Xie and Girshick, "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020, arXiv
1911.05722, with the head and the temperature of version 2: Chen, Fan, Girshick and He, "Improved Baselines with
Momentum Contrastive Learning", arXiv 2003.04297. One view of each image is encoded as a query, the other as a key, by a
slowly following copy of the encoder. The loss (InfoNCE, equation 1) tells the key of the same image from those of other
images: the batches before are kept in a queue. Deviations from the papers:

- The other keys of the batch are negatives, too. In the papers all come from the queue, whose batches had other
  statistics of BatchNorm: the key of the same batch can then be told by these. The papers shuffle keys among GPUs
  against it, which does nothing on one device. Besides, there are negatives from the first update on.
- Rows of the queue that hold no key yet are left out; the papers' code fills them with random directions.
- The queue is a quarter as long as there are images, not 65,536 keys: a longer one holds the image itself.
- The momentum is 0.99, not 0.999: a run has hundreds or thousands of updates, not a million.
- The views are sslkit's; AdamW in place of SGD; any backbone.
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
    gather,
    hookimpl,
    momentum_copy,
    normalize,
    representation,
)
from sslkit_moco.queue import KeyQueue

VIEWS_AN_IMAGE = 2

LONGEST_QUEUE = 500
"""Keys in a queue whose length is not set, at most: ``fit`` is shown 2,000 images, however many there are."""


class MoCoConfig(PluginConfig):
    """Options of MoCo.

    Attributes:
        queue: keys of earlier batches that the queue holds. Not set: a quarter of the training images, 500 at most.
        momentum: the share of itself that the momentum encoder keeps at each update.
        temperature: what similarities are divided by; version 1 has 0.07.
        projection: features of a query and of a key; the layer before it has as many as the representation.
        views: what is done to an image to make a view of it.
    """

    queue: int | None = Field(None, ge=1, le=1_048_576)
    momentum: float = Field(0.99, ge=0, lt=1)
    temperature: float = Field(0.2, ge=0.01, le=10)
    projection: int = Field(128, ge=2, le=8192)
    views: ViewsConfig = ViewsConfig()


def contrast_logits(
    queries: torch.Tensor, keys: torch.Tensor, queue: torch.Tensor, filled: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return how similar each query is to the batch's keys and to those of the queue.

    He et al. 2020, equation 1; column i is the positive of query i, and all other columns are its negatives.

    Args:
        queries: float (N, D), of length 1.
        keys: float (N, D), of length 1; row i is of the same image as query i.
        queue: float (L, D), keys of length 1.
        filled: bool (L,), which rows of the queue hold a key.
        temperature: above 0.

    Returns:
        (N, N + L); minus infinity where the queue holds no key.

    Example:
        >>> one, queue = torch.ones(1, 1), torch.tensor([[-1.0], [0.0]])
        >>> contrast_logits(one, one, queue, torch.tensor([True, False]), temperature=0.5).tolist()
        [[2.0, -2.0, -inf]]
    """
    logits = (queries / temperature) @ torch.cat([keys, queue]).T
    there = torch.cat([filled.new_ones(len(keys)), filled])
    return logits.masked_fill(~there, -torch.inf)


def info_nce(logits: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of which column is the positive: column i in row i.

    Args:
        logits: float (N, N + L), from `contrast_logits`.

    Returns:
        0-d, in the dtype of the logits.

    Example:
        >>> info_nce(torch.zeros(2, 4)).item() == torch.tensor(4.0).log().item()
        True
    """
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


class MoCo(PretextTask[MoCoConfig]):
    """Learns which of many keys, most of them from earlier batches, is of the same image as a query.

    Views: ``images``, uint8 (2N, 3, H, W); row 2 i is the query of image i, row 2 i + 1 its key. Metrics:
    ``accuracy``, 0..1: for how many queries the key of the same image is the most similar one; chance is 1 / (N + L)
    with L keys in the queue, and near it is what a collapsed encoder scores. With several processes, N counts the
    images of all.

    State: the momentum encoder and its projector, which follow after each update, and the queue. In training mode
    the momentum encoder's BatchNorm takes the statistics of the batch of keys.

    Raises:
        ValueError: if a batch has fewer than two images, which leave nothing to tell apart before the queue is filled.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = MoCo(MoCoConfig(queue=6), timm.create_model("resnet18", num_classes=0), context)
        >>> output = task(task.make_views(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.Generator()))
        >>> task.after_update(output, progress=0.5)
        >>> task.queue.filled().tolist()
        [True, True, True, True, False, False]
    """

    name = "moco"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = MoCoConfig
    family = "contrast"
    paper = "He et al. 2020, arXiv 1911.05722, and Chen et al. 2020, arXiv 2003.04297"
    min_batch_size = 2

    def __init__(self, config: MoCoConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        width: Any = backbone.head_hidden_size
        # As in version 2, without BatchNorm, which would tell more of the batch that a key is of.
        self.projector = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, config.projection)
        )
        self.momentum_encoder = momentum_copy(self.encoder)
        self.momentum_projector = momentum_copy(self.projector)
        self.queue = KeyQueue(config.queue or LONGEST_QUEUE, config.projection)

    def fit(self, images: torch.Tensor) -> None:
        """Make the queue a quarter as long as there are images, where its length is not set."""
        if self.config.queue is None:
            self.queue = KeyQueue(max(1, min(len(images) // 4, LONGEST_QUEUE)), self.config.projection)

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Make two random views of each image."""
        views = augmented_views(images, generator, self.config.views, self.context.mask, num_views=VIEWS_AN_IMAGE)
        return {"images": views}

    def forward(self, views: Views) -> StepOutput:
        """Tell the key of each query's image from those of other images, of all processes."""
        if len(views["images"]) < self.min_batch_size * VIEWS_AN_IMAGE:
            raise ValueError("MoCo tells images apart, and one image is no batch; it takes 2 images or more")
        images = normalize(views["images"], self.context.mean, self.context.std)
        queries = gather(_directions(self.projector(representation(self.encoder, images[0::VIEWS_AN_IMAGE]))))
        with torch.no_grad():
            h = representation(self.momentum_encoder, images[1::VIEWS_AN_IMAGE])
            keys = gather(_directions(self.momentum_projector(h)))
        with torch.autocast(queries.device.type, enabled=False):
            queue = self.queue.keys.to(keys.dtype)
            logits = contrast_logits(queries, keys, queue, self.queue.filled(), self.config.temperature)
            loss = info_nce(logits)
        targets = torch.arange(len(logits), device=logits.device)
        accuracy = (logits.detach().argmax(dim=1) == targets).float().mean()
        return StepOutput(loss, {"accuracy": accuracy}, carry=keys)

    def after_update(self, output: StepOutput, progress: float) -> None:
        """Move the momentum encoder and its projector, and put the keys into the queue."""
        follow(self.momentum_encoder, self.encoder, self.config.momentum)
        follow(self.momentum_projector, self.projector, self.config.momentum)
        self.queue.put(output.carry)


def _directions(x: torch.Tensor) -> torch.Tensor:
    """Return vectors (N, D) of length 1, in single precision at least."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce MoCo."""
    return (MoCo,)
