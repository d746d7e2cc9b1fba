"""Images as patches, and how many of them are hidden."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def patchify(images: torch.Tensor, patch: int) -> torch.Tensor:
    """Cut images into square patches, row by row; what a patch has beyond the image is zero.

    Args:
        images: any dtype (N, C, H, W).
        patch: side of a patch in pixels.

    Returns:
        The same dtype (N, T, C * patch * patch), with T = ceil(H / patch) * ceil(W / patch), channel by channel.

    Example:
        >>> patchify(torch.arange(16).view(1, 1, 4, 4), 2).tolist()
        [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]
    """
    num_images, channels, height, width = images.shape
    rows, columns = -(-height // patch), -(-width // patch)
    padded = F.pad(images, (0, columns * patch - width, 0, rows * patch - height))
    cells = padded.reshape(num_images, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(num_images, rows * columns, channels * patch**2)


def unpatchify(patches: torch.Tensor, size: int, channels: int = 3) -> torch.Tensor:
    """Put the patches of square images together again: what [patchify][sslkit_mae.patches.patchify] took apart.

    Args:
        patches: any dtype (N, T, C * patch * patch).
        size: side of the images in pixels.
        channels: C.

    Returns:
        The same dtype (N, C, size, size).

    Example:
        >>> images = torch.rand(2, 3, 7, 7)
        >>> torch.equal(unpatchify(patchify(images, 3), 7), images)
        True
    """
    side, patch = math.isqrt(patches.shape[1]), math.isqrt(patches.shape[2] // channels)
    cells = patches.reshape(-1, side, side, channels, patch, patch).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(-1, channels, side * patch, side * patch)[:, :, :size, :size]


def shown_pixels(mask: torch.Tensor | None, size: int, patch: int) -> torch.Tensor:
    """Return which pixels of each patch show the images' subject, bool (T, patch * patch).

    Args:
        mask: bool (size, size), true where images show their subject; None: everywhere.
        size: side of the images in pixels.
        patch: side of a patch in pixels.

    Example:
        >>> shown_pixels(None, size=3, patch=2).tolist()  # the last patches reach beyond the image
        [[True, True, True, True], [True, False, True, False], [True, True, False, False], [True, False, False, False]]
    """
    inside = torch.ones(size, size, dtype=torch.bool) if mask is None else mask
    return patchify(inside[None, None], patch)[0]


def num_hidden(num_patches: int, ratio: float) -> int:
    """Return how many of some patches are hidden: the share that is asked for, with one hidden and one shown at least.

    Args:
        num_patches: how many there are, two at least.
        ratio: share that is hidden, in 0..1.

    Example:
        >>> num_hidden(196, 0.75), num_hidden(2, 0.9)
        (147, 1)
    """
    return min(max(round(num_patches * ratio), 1), num_patches - 1)


def default_patch(image_size: int) -> int:
    """Return the power of two that is nearest, in ratio, to a seventh of an image's side: 32 at 224 pixels.

    Powers of two go with the strides of convolutional networks.

    Example:
        >>> [default_patch(size) for size in (32, 64, 96, 128, 224, 512)]
        [4, 8, 16, 16, 32, 64]
    """
    return 1 << max(round(math.log2(image_size / 7)), 1)
