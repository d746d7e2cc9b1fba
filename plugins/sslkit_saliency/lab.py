"""The L*a*b* colours of sRGB images, in which distances are about as large as they look.

IEC 61966-2-1 (1999) for sRGB's curve and primaries; CIE 15 (2004) for L*a*b*. The white is that of sRGB itself, D65.
"""

from __future__ import annotations

import torch

_XYZ_OF_RGB = torch.tensor(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_RELATIVE_XYZ_OF_RGB = _XYZ_OF_RGB / _XYZ_OF_RGB.sum(dim=1, keepdim=True)
_KNEE = 6 / 29


def lab_of(images: torch.Tensor) -> torch.Tensor:
    """Return the L*a*b* colours of sRGB images.

    Args:
        images: uint8 (N, 3, H, W).

    Returns:
        float32 (N, 3, H, W): L* in 0..100; a* (green to red) and b* (blue to yellow) between -108 and 99.

    Example:
        >>> red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> [round(value, 1) for value in lab_of(red).flatten().tolist()]
        [53.2, 80.1, 67.2]
    """
    codes = torch.arange(256, device=images.device) / 255
    linear = torch.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    relative = torch.einsum("cr,nrhw->nchw", _RELATIVE_XYZ_OF_RGB.to(images.device), linear.take(images.long()))
    root = relative.clamp(min=_KNEE**3) ** (1 / 3)
    x, y, z = torch.where(relative > _KNEE**3, root, relative / (3 * _KNEE**2) + 4 / 29).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
