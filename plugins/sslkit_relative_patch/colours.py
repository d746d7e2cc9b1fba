"""Colours that tell nothing of the lens: dropped, or projected towards grey."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_NOISE = 1.0
"""Standard deviation of the noise in dropped channels, in grey levels.

In the paper it is a hundredth of that of the channel that is kept, which whole grey levels cannot show.
"""


def drop_colours(
    patches: torch.Tensor, kept: torch.Tensor, mean: Sequence[float], generator: torch.Generator
) -> torch.Tensor:
    """Return patches in one channel each; the other two hold noise about their mean (section 3.1, "color dropping").

    Args:
        patches: uint8 (N, 3, H, W).
        kept: number of the channel that each patch keeps, int64 (N,) in 0..2.
        mean: of each channel, in 0..1: what normalisation makes 0.
        generator: on the CPU; draws the noise.

    Returns:
        uint8 of the same shape and in the same memory format.

    Example:
        >>> patch = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> drop_colours(patch, torch.tensor([1]), (0.5, 0.5, 0.5), torch.Generator())[0, 1].item()
        100
    """
    num_patches, _, height, width = patches.shape
    shape = (num_patches, height, width, 3)  # drawn channels last, which is how the patches lie in memory
    noise = torch.randn(shape, generator=generator).mul_(_NOISE).add_(255 * torch.tensor(mean))
    dropped = noise.round_().clamp_(0, 255).byte().permute(0, 3, 1, 2).to(patches.device)
    keeps = torch.arange(3, device=patches.device) == kept.to(patches.device).unsqueeze(1)
    return torch.where(keeps.view(num_patches, 3, 1, 1), patches, dropped)


def project_colours(patches: torch.Tensor) -> torch.Tensor:
    """Return patches without what tells green from magenta, which is where a lens parts colours (section 3.1).

    Each pixel is multiplied by ``B = I - a' a / (a a')``, where ``a = (-1, 2, -1)``: grey stays as it is.

    Args:
        patches: uint8 (N, 3, H, W).

    Returns:
        uint8 of the same shape and in the same memory format; what leaves 0..255 is cut off.

    Example:
        >>> green = torch.tensor([0, 240, 0], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> project_colours(green).flatten().tolist()
        [80, 80, 80]
    """
    red, green, blue = patches.float().unbind(dim=1)
    excess = (2 * green - red - blue) / 6
    projected = torch.stack([red + excess, green - 2 * excess, blue + excess], dim=1)
    pixels = torch.empty_like(patches)
    pixels.copy_(projected.round_().clamp_(0, 255))
    return pixels
