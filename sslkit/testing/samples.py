"""Images to try plugins on: computed, coloured, with an up and a down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def sample_pixels(count: int, size: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return images of a sky over ground and a coloured disc, uint8 (M, H, W, 3).

    Up differs from down and one place from another, and colour goes with brightness: there is something to learn for
    tasks of many kinds.

    Args:
        count: M.
        size: H and W in pixels.
        seed: of what differs between them.

    Example:
        >>> sample_pixels(2, 16).shape
        (2, 16, 16, 3)
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size
    images = []
    for _ in range(count):
        horizon, hue = rng.uniform(0.35, 0.65), rng.uniform(0, 1, 3)
        sky = (rows < horizon)[..., None]
        image = np.where(sky, [0.45, 0.65, 0.95] * (1 - 0.5 * rows[..., None]), [0.35, 0.25, 0.1])
        x, y, radius = rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.25)
        disc = ((columns - x) ** 2 + (rows - y) ** 2 < radius**2)[..., None]
        image = np.where(disc, 0.3 + 0.7 * hue, image) + rng.normal(0, 0.03, (size, size, 1))
        images.append((image.clip(0, 1) * 255).astype(np.uint8))
    return np.stack(images)


def sample_images(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Return such images as a batch, uint8 (N, 3, H, W), in the layout in which a run reads them: channels last."""
    return torch.from_numpy(sample_pixels(count, size, seed)).permute(0, 3, 1, 2)


def plain_images(count: int, size: int, value: int) -> torch.Tensor:
    """Return images of one grey, uint8 (N, 3, H, W), channels last."""
    return torch.full((count, size, size, 3), value, dtype=torch.uint8).permute(0, 3, 1, 2)
