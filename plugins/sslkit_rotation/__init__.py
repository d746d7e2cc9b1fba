"""Rotation: which way up is the image?

Gidaris, Singh and Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations", ICLR 2018,
arXiv 1803.07728. Each image is turned by 0, 90, 180 and 270 degrees, and a linear classifier on the representation
learns by cross-entropy which turn it was (equations 2 and 3). The turns are lossless: no pixel is resampled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.nn import functional as F

from sslkit import PluginConfig, PretextTask, StepOutput, TaskContext, Views, hookimpl, normalize

NUM_TURNS = 4


class RotationConfig(PluginConfig):
    """Options of the rotation task.

    Attributes:
        turns: "all" shows every image in all four turns, as the paper does; "one" in one random turn, which costs a
            quarter of the time an update.
    """

    turns: Literal["all", "one"] = "all"


def rotate(images: torch.Tensor, k: int) -> torch.Tensor:
    """Turn images by k x 90 degrees counter-clockwise, without touching a pixel's value.

    Args:
        images: any dtype (N, C, H, W).
        k: any integer; turns by k and by k + 4 are the same, and -k turns back.

    Returns:
        The same dtype and shape.

    Raises:
        ValueError: if the images are not (N, C, H, W), or are not square and k is odd.

    Example:
        >>> rotate(torch.tensor([[[[1, 2], [3, 4]]]]), k=1).tolist()
        [[[[2, 4], [1, 3]]]]
    """
    _check_turn(images, k)
    return torch.rot90(images, k, (2, 3))


def rotated_views(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all four turns of each image, in the images' memory format.

    Args:
        images: any dtype (N, C, H, W), square.

    Returns:
        The views (4N, C, H, W), whose row 4 i + k is image i turned by k, and the labels k, int64 (4N,).

    Raises:
        ValueError: if the images are not square.

    Example:
        >>> views, labels = rotated_views(torch.zeros(2, 3, 8, 8))
        >>> views.shape, labels.tolist()
        (torch.Size([8, 3, 8, 8]), [0, 1, 2, 3, 0, 1, 2, 3])
    """
    _check_turn(images, 1)
    num_images, memory_format = len(images), _memory_format(images)
    shape = (num_images * NUM_TURNS, *images.shape[1:])
    views = torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=memory_format)
    # A turn by 90 or 270 degrees is a flip of the transposed image. Transposing is the slow part, and done once.
    transposed = images.transpose(2, 3).contiguous(memory_format=memory_format)
    by_turn = views.view(num_images, NUM_TURNS, *images.shape[1:])
    by_turn[:, 0] = images
    by_turn[:, 1] = transposed.flip(2)
    by_turn[:, 2] = images.flip(2, 3)
    by_turn[:, 3] = transposed.flip(3)
    return views, torch.arange(NUM_TURNS, device=images.device).repeat(num_images)


def randomly_rotated_views(images: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each image in one random turn.

    Args:
        images: any dtype (N, C, H, W), square.
        generator: on the CPU; draws the turns.

    Returns:
        The views, shaped as the images are, and their turns, int64 (N,) in 0..3.

    Raises:
        ValueError: if the images are not square.
    """
    labels = torch.randint(NUM_TURNS, (len(images),), generator=generator).to(images.device)
    views = torch.empty_like(images)
    for k in range(NUM_TURNS):
        views[labels == k] = rotate(images[labels == k], k)
    return views, labels


class Rotation(PretextTask[RotationConfig]):
    """Learns which of four turns a view shows.

    Views: ``images``, uint8 (4N, 3, H, W), and ``labels``, int64 (4N,) in 0..3, counting turns by 90 degrees
    counter-clockwise; with ``turns = "one"`` there are N rows. Metrics: ``accuracy``, 0..1; chance is 0.25.

    Example:
        >>> import timm
        >>> context = TaskContext(image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> task = Rotation(RotationConfig(), timm.create_model("resnet18", num_classes=0), context)
        >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
        >>> task(task.make_views(images, torch.Generator())).loss.shape
        torch.Size([])
    """

    name = "rotation"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = RotationConfig
    family = "context"
    paper = "Gidaris, Singh and Komodakis 2018, arXiv 1803.07728"

    def __init__(self, config: RotationConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        self.classifier = nn.Linear(backbone.head_hidden_size, NUM_TURNS)  # type: ignore[arg-type]

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        """Turn each image all four ways, or one random way."""
        if self.config.turns == "all":
            views, labels = rotated_views(images)
        else:
            views, labels = randomly_rotated_views(images, generator)
        return {"images": views, "labels": labels}

    def probe_labels(self, views: Views) -> torch.Tensor:
        """Return the turns, which a cut shutter or text in a corner would tell."""
        return views["labels"]

    def forward(self, views: Views) -> StepOutput:
        """Classify the turns by cross-entropy."""
        encoder: Any = self.encoder
        images = normalize(views["images"], self.context.mean, self.context.std)
        h = encoder.forward_head(encoder.forward_features(images), pre_logits=True)
        logits = self.classifier(h).float()
        loss = F.cross_entropy(logits, views["labels"])
        accuracy = (logits.detach().argmax(dim=1) == views["labels"]).float().mean()
        return StepOutput(loss, {"accuracy": accuracy})


def _check_turn(images: torch.Tensor, k: int) -> None:
    if images.ndim != 4:
        raise ValueError(f"images must be (N, C, H, W), not {tuple(images.shape)}")
    height, width = images.shape[2:]
    if k % 2 and height != width:
        raise ValueError(
            f"images of {height} x {width} pixels cannot be turned by {k % NUM_TURNS * 90} degrees; "
            "make them square first, or turn them by 180"
        )


def _memory_format(images: torch.Tensor) -> torch.memory_format:
    # A contiguous batch of one channel or one pixel is both; it stays contiguous.
    only_channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if only_channels_last else torch.contiguous_format


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Announce the rotation task."""
    return (Rotation,)
