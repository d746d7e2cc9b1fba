"""Squares of images: what a mask leaves of them, and how they are cut out."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def inscribed_square(image_size: int, mask: torch.Tensor | None) -> tuple[int, int]:
    """Return the largest centred square of an image that lies in the mask as a whole.

    Patches are cut out of it, since one with a piece of the mask in it would tell its place.

    Args:
        image_size: side of the image in pixels.
        mask: bool (image_size, image_size), true where images show their subject; None: everywhere.

    Returns:
        The square's first row, which is its first column, too, and its side, both in pixels. The side is 0 where the
        mask hides the centre.

    Raises:
        ValueError: if the mask is not bool (image_size, image_size).

    Example:
        >>> mask = torch.ones(6, 6, dtype=torch.bool)
        >>> mask[0, 3] = False
        >>> inscribed_square(6, mask), inscribed_square(6, None)
        ((1, 4), (0, 6))
    """
    if mask is None:
        return 0, image_size
    if mask.dtype != torch.bool or mask.shape != (image_size, image_size):
        wanted = f"bool ({image_size}, {image_size})"
        raise ValueError(
            f"the mask of images of {image_size} px must be {wanted}, not {mask.dtype} {tuple(mask.shape)}"
        )
    places = torch.arange(image_size, device=mask.device)
    to_border = torch.minimum(places, places.flip(0))
    depth = torch.minimum(to_border.unsqueeze(1), to_border)
    frame = int((depth + 1).masked_fill(mask, 0).max())  # as wide as it must be to hold all that is hidden
    side = max(0, image_size - 2 * frame)
    return (image_size - side) // 2, side


def squares_in_mask(size: int, stride: int, mask: torch.Tensor | None) -> torch.Tensor:
    """Return which squares of ``stride`` pixels are wholly inside the mask.

    Args:
        size: side of the image in pixels.
        stride: side of a square; those at the right and lower border are smaller where it does not divide the size.
        mask: bool (size, size); None: all of the image.

    Returns:
        bool (h, h) with h = size / stride, rounded up.

    Example:
        >>> mask = torch.ones(4, 4, dtype=torch.bool)
        >>> mask[0, 0] = False
        >>> squares_in_mask(4, 2, mask).tolist()
        [[False, True], [True, True]]
    """
    outside = torch.zeros(size, size) if mask is None else (~mask).float()
    return F.max_pool2d(outside[None], stride, ceil_mode=True)[0] == 0


def cut_squares(images: torch.Tensor, corners: torch.Tensor, side: int) -> torch.Tensor:
    """Cut squares out of images, as many of each.

    Args:
        images: any dtype (N, C, H, W).
        corners: int64 (N, P, 2), row and column of the upper left pixel of P squares an image; on any device.
        side: of each square, in pixels.

    Returns:
        The same dtype (N P, C, side, side), on the images' device and in their memory format; row P i + p is the square
        at ``corners[i, p]`` of image i.

    Raises:
        ValueError: if the corners are not of that shape, or a square reaches beyond its image.

    Example:
        >>> image = torch.arange(16).view(1, 1, 4, 4)
        >>> cut_squares(image, torch.tensor([[[0, 0], [1, 2]]]), side=2).flatten(1).tolist()
        [[0, 1, 4, 5], [6, 7, 10, 11]]
    """
    if corners.ndim != 3 or corners.shape[::2] != (len(images), 2):
        raise ValueError(f"corners must be (N, P, 2) for {len(images)} images, not {tuple(corners.shape)}")
    last = torch.tensor(images.shape[2:], device=corners.device) - side
    if ((corners < 0) | (corners > last)).any():  # an index below zero would count from the other end
        size = " x ".join(map(str, images.shape[2:]))
        raise ValueError(f"a square of {side} px reaches beyond its image of {size} px")
    windows = images.unfold(2, side, 1).unfold(3, side, 1)
    rows, columns = corners.to(images.device).unbind(dim=2)
    owners = torch.arange(len(images), device=images.device).unsqueeze(1)
    return windows[owners, :, rows, columns].flatten(0, 1)
