"""Gaussian blur with a standard deviation for each image."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def blur(images: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Return images, each blurred by a Gaussian of its own.

    Args:
        images: float (N, C, H, W).
        sigmas: float (N,), standard deviations in pixels, above 0.

    Returns:
        float (N, C, H, W). Beyond the border, the outermost pixels are repeated; a kernel ends at three standard
        deviations.

    Example:
        >>> image = torch.zeros(1, 1, 3, 3)
        >>> image[0, 0, 1, 1] = 1
        >>> blur(image, torch.tensor([0.5])).sum().item() > 0.99
        True
    """
    num_images, channels, height, width = images.shape
    radius = min(math.ceil(3 * sigmas.max().item()), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1)
    # Each kernel ends at its own three standard deviations: no image depends on the others' blur.
    within = offsets.abs() <= (3 * sigmas).ceil().unsqueeze(1)
    kernels = (-0.5 * (offsets / sigmas.unsqueeze(1)) ** 2).exp() * within
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    planes = F.pad(images, (radius, radius, radius, radius), mode="replicate").view(1, -1, *_padded(images, radius))
    planes = F.conv2d(planes, kernels.view(-1, 1, 1, 2 * radius + 1), groups=num_images * channels)
    planes = F.conv2d(planes, kernels.view(-1, 1, 2 * radius + 1, 1), groups=num_images * channels)
    return planes.view(images.shape)


def _padded(images: torch.Tensor, radius: int) -> tuple[int, int]:
    return images.shape[2] + 2 * radius, images.shape[3] + 2 * radius
