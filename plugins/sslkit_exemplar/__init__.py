"""Exemplar: each image is a class of its own.

Dosovitskiy, Springenberg, Riedmiller and Brox, "Discriminative Unsupervised Feature Learning with Convolutional Neural
Networks", NIPS 2014, arXiv 1406.6909, in the form that Taleb et al., "3D Self-Supervised Methods for Medical Imaging",
NeurIPS 2020, arXiv 2006.03829, give it: two random views of one image are to lie nearer to each other than to views of
other images, by a margin. The triplet loss is that of Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015, arXiv
1503.03832, equation 2: squared Euclidean distances between embeddings of length one.

Deviations from the papers:

- Dosovitskiy et al. have a classifier with one output an image, which grows with the data; a triplet loss has none.
- Both views are random, and each is an anchor. Taleb et al. compare one random view with the image as it is.
- Every view of every other image of the batch is a negative (``negatives = "all"``), not one of another image.
- Embeddings come from a small network, not one layer, and have length one. Taleb et al. compare 1024 outputs of
  sigmoids by the mean of their squared differences. Their margin of 1 is kept: here it is a quarter of the greatest
  distance there can be.
- Views are those of the option ``views``: crops, turns, flips, colours and blur.
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
from sslkit_exemplar.triplets import (
    Negatives,
    share_of_nearest_positives,
    share_of_violations,
    squared_distances,
    triplet_loss,
)


class ExemplarConfig(PluginConfig):
    """Options of the exemplar task.

    Attributes:
        margin: by how much nearer a view is to lie to the other view of its image than to a view of another image, in
            squared distances between embeddings of length one, which are 0 to 4.
        negatives: which views of other images make triplets with a view and its positive. "all": every one.
            "semi-hard": the nearest of those that are farther away than the positive; where none is, the farthest.
            There is no "hardest": with the nearest of all, the encoder came to say the same of every image.
        embedding_size: numbers that an image is compared by. Schroff et al. found 128 to be as good as more.
        views: how the two views of an image are made.
    """

    margin: float = Field(1.0, gt=0, le=4)
    negatives: Negatives = "all"
    embedding_size: int = Field(128, ge=2, le=4096)
    views: ViewsConfig = ViewsConfig()


class Exemplar(PretextTask[ExemplarConfig]):
    """Learns to tell each image from all others, whatever view of it is shown.

    Views: ``images``, uint8 (2N, 3, H, W), of which rows 2 i and 2 i + 1 are random views of image i. Over several
    processes, the negatives are those of all of them.
    Metrics: ``violations``, the share of all triplets that violate the margin, 0..1; ``accuracy``, how often the other
    view of an image is nearer than every view of another, 0..1; chance is 1 / (2N - 1). Where the encoder says the same
    of every image, the loss is the margin, ``violations`` is 1 and ``accuracy`` 0. State: none but weights.

    There is nothing for the audit to probe, so that ``probe_labels`` is left as it is: an image's class is its own.

    Raises:
        ValueError: in ``forward``, if there is one image only.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Exemplar(ExemplarConfig(), timm.create_model("resnet10t", num_classes=0), context)
        >>> views = task.make_views(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.Generator())
        >>> views["images"].shape, task(views).loss.shape
        (torch.Size([6, 3, 32, 32]), torch.Size([]))
    """

    name = "exemplar"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = ExemplarConfig
    family = "contrast"
    paper = "Dosovitskiy et al. 2014, arXiv 1406.6909; Taleb et al. 2020, arXiv 2006.03829"
    min_batch_size = 2

    def __init__(self, config: ExemplarConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        width: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.projector = make_projector([width, width, config.embedding_size])

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Make two random views of each image."""
        return {"images": augmented_views(images, generator, self.config.views, self.context.mask)}

    def forward(self, views: Views) -> StepOutput:
        """Compare every view with every other one by the triplet loss."""
        images = normalize(views["images"], self.context.mean, self.context.std)
        z = gather(self.projector(representation(self.encoder, images)))
        with torch.autocast(z.device.type, enabled=False):
            distances = squared_distances(z)
            loss = triplet_loss(distances, self.config.margin, self.config.negatives)
        told = distances.detach()
        metrics = {
            "violations": share_of_violations(told, self.config.margin),
            "accuracy": share_of_nearest_positives(told),
        }
        return StepOutput(loss, metrics)


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the exemplar task."""
    return (Exemplar,)
