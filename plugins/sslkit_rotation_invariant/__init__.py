"""Rotation, decoupled: half of the representation tells the turn, the other half the image whatever its turn.

Feng, Xu and Tao, "Self-Supervised Representation Learning by Rotation Feature Decoupling", CVPR 2019. Each image is
shown in four turns. From the first half of the representation a linear classifier learns the turn; in the second half
the four are drawn to their mean, and images are told from one another. Li et al., "Rotation-Oriented Collaborative
Self-Supervised Learning for Retinal Disease Diagnosis", IEEE Transactions on Medical Imaging 40(9), 2021, learn
rotation-related and rotation-invariant features together on photographs of the retina.

Deviations from Feng, Xu and Tao:

- Images are told from the others of the batch, not from a memory bank of all images by noise-contrastive estimation: in
  a bank for few images, each would be compared with itself of an epoch before, and little else.
- Each turn is of a random view of its own, where theirs are of one crop. Their bank holds another crop of an image;
  without one, an image would be known by its exact colours. With all of ``views`` switched off there is one crop.
- What a view is compared with, of its own image, is the mean of the other turns, without the view itself.
- The weights of rotation-agnostic images are an option, and come from a logistic classifier on the features of the same
  training, which does not train them; theirs come from a network that was trained before. It counts upright and turned
  views alike, so that an image that looks the same in all turns has a probability of a half.
- The distance of features from their mean is squared, and averaged over the features.

Deviations from Li et al.: the two kinds of features are halves of one representation, and no loss compares patches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, Self

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
    gather,
    hookimpl,
    normalize,
    representation,
)
from sslkit_rotation_invariant.losses import NUM_TURNS, instance_loss, invariance_loss, rotation_loss, turn_weights

PROJECTED_FEATURES = 128
"""As in Feng, Xu and Tao's experiments, and in Wu et al. 2018."""


class UprightViewsConfig(ViewsConfig):
    """Options of the random views before they are turned.

    Attributes:
        turns: none but the four that are learnt.
    """

    turns: Literal["none"] = "none"


class RotationInvariantConfig(PluginConfig):
    """Options of the decoupled rotation task.

    Attributes:
        rotation_weight: of the loss that classifies the turns.
        invariance_weight: of the distance between the turns of an image and their mean.
        instance_weight: of the loss that tells images from one another.
        temperature: of the similarities that images are told apart by.
        positive_unlabelled: let turned views that look upright count less when turns are classified.
        gamma: the power of the probability that they look so; the larger, the less it has a say. Only with
            positive_unlabelled.
        views: how each view is drawn before it is turned.
    """

    rotation_weight: float = Field(1.0, ge=0, le=100)
    invariance_weight: float = Field(1.0, ge=0, le=100)
    instance_weight: float = Field(1.0, ge=0, le=100)
    temperature: float = Field(0.07, ge=0.01, le=10)
    positive_unlabelled: bool = False
    gamma: float = Field(2.0, ge=0.1, le=10)
    views: UprightViewsConfig = UprightViewsConfig()

    @model_validator(mode="after")
    def _something_keeps_images_apart(self) -> Self:
        if self.rotation_weight == self.instance_weight == 0:
            raise ValueError(
                "with rotation_weight = 0 and instance_weight = 0 all images may come to look the same; give one of "
                "them a weight above 0"
            )
        return self


def turned_views(views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn every fourth view by as many quarters of a circle, counter-clockwise, without touching a pixel's value.

    Args:
        views: any dtype (4N, C, H, W), square.

    Returns:
        Row 4 i + k of the views turned by k x 90 degrees, in the same memory format; and the labels k, int64 (4N,).

    Example:
        >>> turned, labels = turned_views(torch.tensor([[1, 2], [3, 4]]).expand(4, 1, 2, 2))
        >>> turned[:, 0].tolist(), labels.tolist()
        ([[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]], [0, 1, 2, 3])
    """
    turned = views.clone()
    for k in range(1, NUM_TURNS):
        turned[k::NUM_TURNS] = torch.rot90(views[k::NUM_TURNS], k, (2, 3))
    return turned, torch.arange(NUM_TURNS, device=views.device).repeat(len(views) // NUM_TURNS)


class RotationInvariant(PretextTask[RotationInvariantConfig]):
    """Learns the turn from one half of the representation, and from the other the image whatever its turn.

    Views: ``images``, uint8 (4N, 3, H, W), whose row 4 i + k is a view of image i turned by k x 90 degrees
    counter-clockwise, and ``labels``, int64 (4N,), the turns k. Metrics: ``rotation_accuracy``, 0..1, of which chance
    is 0.25; ``instance_accuracy``, 0..1, how often a view is nearest to its own image, of which chance is 1 / N;
    ``distance``, the mean squared difference between the invariant features of a turn and their mean over the turns.

    The first D // 2 features of a representation of D are those that the turn is told from; the rest are invariant.

    Raises:
        ValueError: in ``forward``, if a batch has fewer than two images.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> backbone = timm.create_model("resnet10t", num_classes=0)
        >>> task = RotationInvariant(RotationInvariantConfig(), backbone, context)
        >>> views = task.make_views(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.Generator())
        >>> views["images"].shape, task(views).loss.shape
        (torch.Size([8, 3, 32, 32]), torch.Size([]))
    """

    name = "rotation-invariant"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = RotationInvariantConfig
    family = "context"
    paper = "Feng, Xu and Tao 2019, CVPR"
    min_batch_size = 2

    def __init__(self, config: RotationInvariantConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        width: int = backbone.head_hidden_size  # type: ignore[assignment]
        self.num_related = width // 2
        self.classifier = nn.Linear(self.num_related, NUM_TURNS)
        self.projection = nn.Linear(width - self.num_related, PROJECTED_FEATURES)
        self.upright_classifier = nn.Linear(self.num_related, 1) if config.positive_unlabelled else None

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Draw four views of each image, and turn each its own way."""
        views = augmented_views(images, generator, self.config.views, self.context.mask, num_views=NUM_TURNS)
        turned, labels = turned_views(views)
        return {"images": turned, "labels": labels}

    def probe_labels(self, views: Views) -> torch.Tensor:
        """Return the turns, which a cut shutter or text in a corner would tell."""
        return views["labels"]

    def forward(self, views: Views) -> StepOutput:
        """Classify the turns, and tell the images apart whatever their turns."""
        config, labels = self.config, views["labels"]
        related, invariant = self.split(views["images"])
        logits, projected = self.classifier(related), self.projection(invariant)
        with torch.autocast(related.device.type, enabled=False):
            logits, of_images = logits.float(), _by_image(invariant.float())
            weights, upright_loss = self._weights(related.detach().float(), labels)
            distance = invariance_loss(of_images)
            of_instances, instance_accuracy = instance_loss(gather(_by_image(projected.float())), config.temperature)
            loss = (
                config.rotation_weight * rotation_loss(logits, labels, weights)
                + config.invariance_weight * distance
                + config.instance_weight * of_instances
                + upright_loss
            )
        metrics = {
            "rotation_accuracy": (logits.detach().argmax(dim=1) == labels).float().mean(),
            "instance_accuracy": instance_accuracy,
            "distance": distance.detach(),
        }
        return StepOutput(loss, metrics)

    def split(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the two halves of the representation of uint8 images (V, 3, H, W): (V, D // 2) and (V, D - D // 2)."""
        h = representation(self.encoder, normalize(images, self.context.mean, self.context.std))
        return h[:, : self.num_related], h[:, self.num_related :]

    def _weights(self, related: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weight of each view, and the loss of the classifier that it comes from."""
        if self.upright_classifier is None:
            return torch.ones(len(labels), device=labels.device), torch.zeros((), device=labels.device)
        logits = self.upright_classifier(related).squeeze(1)
        # Three views in four are turned: an upright one counts three times, so that a half means that nothing tells.
        balance = torch.full((), NUM_TURNS - 1.0, device=logits.device)
        loss = F.binary_cross_entropy_with_logits(logits, (labels == 0).float(), pos_weight=balance)
        return turn_weights(logits.detach().sigmoid(), labels, self.config.gamma), loss


def _by_image(rows: torch.Tensor) -> torch.Tensor:
    """Return rows of views (4N, D) as (N, 4, D)."""
    return rows.reshape(-1, NUM_TURNS, rows.shape[1])


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the decoupled rotation task."""
    return (RotationInvariant,)
