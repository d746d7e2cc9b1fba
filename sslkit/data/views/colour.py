"""Random changes of colour: brightness, contrast, saturation and hue as one affine map of red, green and blue."""

from __future__ import annotations

import math

import torch

from sslkit.data.views.options import ViewsConfig

NUM_DRAWS = 6
"""Numbers that a change of colour is made of."""

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""Brightness and two coordinates of colour (FCC 1953), in which a change of hue is a turn."""

_FROM_YIQ = torch.linalg.inv(_TO_YIQ)


def draw_colour_maps(
    draws: torch.Tensor, config: ViewsConfig, means: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a change of colours for each view.

    In this order: brightness, contrast, saturation, hue, grey. What leaves 0..255 is cut off at the end alone.

    Args:
        draws: float (N, 6), uniform in 0..1.
        config: how much is changed, and how often.
        means: float (N,), the mean brightness of what each view shows.

    Returns:
        Matrices, float (N, 3, 3), and what is added after them, float (N, 1).
    """
    brightness, contrast, saturation, hue, changed, grey = draws.unbind(dim=1)
    wanted = (changed < config.recoloured).float()
    b = 1 + wanted * config.brightness * (2 * brightness - 1)
    c = 1 + wanted * config.contrast * (2 * contrast - 1)
    s = 1 + wanted * config.saturation * (2 * saturation - 1)
    s = torch.where(grey < config.grey, 0.0, s)
    angle = wanted * config.hue * (2 * hue - 1) * 2 * math.pi
    # In these coordinates the first is left alone, and the others are scaled by s and turned.
    cos, sin = s * angle.cos(), s * angle.sin()
    one, zero = torch.ones_like(s), torch.zeros_like(s)
    rows = [torch.stack(row, dim=1) for row in ((one, zero, zero), (zero, cos, -sin), (zero, sin, cos))]
    matrices = _FROM_YIQ @ torch.stack(rows, dim=1) @ _TO_YIQ
    # Contrast and brightness are factors of all three; what contrast adds is grey, which the matrix leaves as it is.
    return (b * c).view(-1, 1, 1) * matrices, ((1 - c) * b * means).unsqueeze(1)


def mean_brightness(images: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the mean brightness of images, float (N, 3, H, W), where a mask, bool (H, W), is true: float (N,)."""
    channels = images.mean((2, 3)) if mask is None else (images * mask).sum((2, 3)) / mask.sum()
    return channels @ torch.tensor(_LUMA)


def recolour(images: torch.Tensor, matrices: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """Return images, float (N, 3, H, W), whose colours are mapped by a matrix and a summand for each image."""
    return torch.baddbmm(added.unsqueeze(2), matrices, images.flatten(2)).view(images.shape)
