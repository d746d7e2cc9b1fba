"""What lies around the subject: nothing of it may be seen in a view."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch


def fill_surround(images: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return images whose surround has the colours of the subject's rim: each pixel those of the nearest one within.

    What resampling or blur then mixes into the rim is of the subject, and no black.

    Args:
        images: any dtype (N, C, H, W).
        mask: bool (H, W), true where every image shows its subject.

    Returns:
        The same dtype and shape, in channels-last layout.

    Raises:
        ValueError: if the mask is true nowhere.

    Example:
        >>> image, mask = torch.tensor([[[[7, 0], [5, 6]]]]), torch.tensor([[True, False], [True, True]])
        >>> fill_surround(image, mask)[0, 0, 0, 1].item() in (6, 7)
        True
    """
    num_images, channels, height, width = images.shape
    nearest = torch.from_numpy(_nearest_inside(mask.numpy().tobytes(), height, width))
    pixels = images.permute(0, 2, 3, 1).reshape(num_images, height * width, channels)
    return pixels.index_select(1, nearest).view(num_images, height, width, channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _nearest_inside(mask: bytes, height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the number of the pixel within a mask that is nearest to each pixel, int64 (H * W,).

    All batches of a run have one mask, and it takes as long as their views: the last ones are remembered.
    """
    from scipy.ndimage import distance_transform_edt

    outside = ~np.frombuffer(mask, bool).reshape(height, width)
    if outside.all():
        raise ValueError("the mask hides the whole of the images")
    rows, columns = distance_transform_edt(outside, return_distances=False, return_indices=True)
    nearest: npt.NDArray[np.int64] = (rows.astype(np.int64) * width + columns).ravel()
    return nearest
