"""From images to views of them."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from sslkit.data.views import colour, windows
from sslkit.data.views.blur import blur
from sslkit.data.views.options import ViewsConfig
from sslkit.data.views.surround import fill_surround

_BLUR_DRAWS = 2
_LEAST_SIGMA = 0.1
_BLUR_SIZE = 224
"""The size of image for which the option ``blur`` counts pixels."""


def augmented_views(
    images: torch.Tensor,
    generator: torch.Generator,
    config: ViewsConfig,
    mask: torch.Tensor | None,
    *,
    num_views: int = 2,
    size: int | None = None,
    area: tuple[float, float] | None = None,
) -> torch.Tensor:
    """Return random views of images.

    Every view is as large a part of the image as drawn, turned, mirrored, changed in colour, and blurred; each of these
    can be switched off. Where images have a circular mask, a view shows a smaller circle within it, and is black
    outside the same circle: nothing of a border tells where it lay, and nothing of the surround is mixed into it. As
    many numbers are drawn whatever is switched on, so that one option does not change what another draws.

    Args:
        images: uint8 (N, 3, H, W), square; not changed.
        generator: the only source of randomness, on the CPU.
        config: what is done.
        mask: bool (H, W), true where every image shows its subject, a disc about the centre; None: everywhere.
        num_views: views an image.
        size: side of a view in pixels; None: that of the images.
        area: the least and the greatest share of an image's area that a view shows; None: ``min_area`` to 1.

    Returns:
        uint8 (num_views * N, 3, size, size), in channels-last layout; row ``num_views * i + v`` is view v of image i.

    Example:
        >>> images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
        >>> augmented_views(images, torch.Generator(), ViewsConfig(), None).shape
        torch.Size([8, 3, 32, 32])
    """
    side = images.shape[2]
    size = side if size is None else size
    area = (config.min_area, 1.0) if area is None else area
    numbers = torch.rand(
        len(images) * num_views, windows.NUM_DRAWS + colour.NUM_DRAWS + _BLUR_DRAWS, generator=generator
    )
    of_window, of_colour, of_blur = torch.split(numbers, [windows.NUM_DRAWS, colour.NUM_DRAWS, _BLUR_DRAWS], dim=1)
    radius = None if mask is None else windows.disc_radius(mask)
    shown = _shown(mask, size)
    resampled = area != (1.0, 1.0) or config.flips or config.turns != "none" or size != side
    if mask is not None and (resampled or config.blurred):
        images = fill_surround(images, mask)
    views = images.contiguous().float()
    if resampled:
        drawn = windows.draw_windows(of_window, area, flips=config.flips, turns=config.turns, radius=radius)
        # Where pixels of a view lie further apart than those of the image, each is the mean of several.
        finer = max(1, round(math.sqrt(area[1]) * side / size))
        views = windows.look_through(views, drawn, finer * size)
        views = F.avg_pool2d(views, finer) if finer > 1 else views
    else:
        views = views.repeat_interleave(num_views, dim=0)
    if config.recoloured or config.grey:
        maps = colour.draw_colour_maps(of_colour, config, colour.mean_brightness(views, shown))
        views = colour.recolour(views, *maps)
    blurred = (of_blur[:, 0] < config.blurred).nonzero().flatten()
    if len(blurred):
        share = size / _BLUR_SIZE
        sigmas = (_LEAST_SIGMA + (config.blur - _LEAST_SIGMA) * of_blur[blurred, 1]) * share
        views[blurred] = blur(views[blurred], sigmas.clamp(min=_LEAST_SIGMA * share))
    pixels = views.add_(0.5).clamp_(0, 255).to(torch.uint8)
    if shown is not None:
        pixels *= shown
    return pixels.contiguous(memory_format=torch.channels_last)


def _shown(mask: torch.Tensor | None, size: int) -> torch.Tensor | None:
    """Return the mask in the size of a view: where most of a pixel shows the subject."""
    if mask is None or len(mask) == size:
        return mask
    outside = F.interpolate((~mask)[None, None].float(), (size, size), mode="bilinear", antialias=True)
    return outside[0, 0] < 0.5
