"""sRGB and CIE L*a*b*, in which distances are about as large as they look.

IEC 61966-2-1 (1999) for sRGB's curve and primaries; CIE 15 (2004) for L*a*b*. The white is that of sRGB itself, D65:
what (255, 255, 255) comes to, so that every grey has a* = b* = 0.
"""

from __future__ import annotations

import torch

_XYZ_OF_RGB = torch.tensor(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ],
    dtype=torch.float64,
)
_WHITE = _XYZ_OF_RGB.sum(dim=1)
_RELATIVE_XYZ_OF_RGB = _XYZ_OF_RGB / _WHITE[:, None]
_KNEE = 6 / 29


def lab_of(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return the L*a*b* colours of sRGB images, in which distances are about as large as they look.

    IEC 61966-2-1 (1999) for sRGB, CIE 15 (2004) for L*a*b*; the white is that of sRGB itself, D65, so that every grey
    has a* = b* = 0.

    Args:
        images: uint8 (N, 3, H, W).
        dtype: to compute in, float32 or float64.

    Returns:
        The same dtype (N, 3, H, W) on the images' device: L* in 0..100; a* (green to red) and b* (blue to yellow)
        between -108 and 99.

    Raises:
        ValueError: if the images are not uint8 (N, 3, H, W).

    Example:
        >>> red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> [round(value, 1) for value in lab_of(red).flatten().tolist()]
        [53.2, 80.1, 67.2]
    """
    relative = torch.einsum("cr,nrhw->nchw", _RELATIVE_XYZ_OF_RGB.to(images.device, dtype), _linear(images, dtype))
    x, y, z = torch.where(
        relative > _KNEE**3, relative.clamp(min=_KNEE**3) ** (1 / 3), relative / (3 * _KNEE**2) + 4 / 29
    ).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def srgb_of(lab: torch.Tensor) -> torch.Tensor:
    """Return the sRGB images of L*a*b* colours; colours that sRGB lacks are clipped channel by channel.

    Args:
        lab: as [lab_of][sslkit.lab_of] gives them, float32 or float64 (N, 3, H, W).

    Returns:
        uint8 (N, 3, H, W).

    Example:
        >>> srgb_of(torch.tensor([100.0, 0.0, 0.0]).view(1, 3, 1, 1)).flatten().tolist()
        [255, 255, 255]
    """
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=1)
    relative = torch.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4 / 29))
    linear = torch.einsum("rc,nchw->nrhw", torch.linalg.inv(_RELATIVE_XYZ_OF_RGB).to(lab.device, lab.dtype), relative)
    return _encoded(linear)


def grey_of(images: torch.Tensor) -> torch.Tensor:
    """Return the lightness of sRGB images as grey sRGB images: the grey that has the same L*, to the nearest code.

    Args:
        images: uint8 (N, 3, H, W).

    Returns:
        uint8 (N, 3, H, W) with three equal channels, in channels-last layout.

    Raises:
        ValueError: if the images are not uint8 (N, 3, H, W).

    Example:
        >>> green = torch.tensor([0, 255, 0], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> grey_of(green).flatten().tolist()
        [220, 220, 220]
    """
    weights = _RELATIVE_XYZ_OF_RGB[1].to(images.device, torch.float32)
    luminance = torch.einsum("r,nrhw->nhw", weights, _linear(images, torch.float32))
    return _encoded(luminance).unsqueeze(1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _linear(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what the codes of sRGB stand for, linear in light, 0..1."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}")
    codes = torch.arange(256, dtype=torch.float64) / 255
    curve = torch.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    return curve.to(images.device, dtype).take(images.long())


def _encoded(linear: torch.Tensor) -> torch.Tensor:
    """Return the nearest codes of sRGB, uint8, for what is linear in light."""
    linear = linear.clamp(0, 1)
    codes = torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (codes * 255).round().to(torch.uint8)
