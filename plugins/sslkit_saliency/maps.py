"""What stands out in an image: two saliency maps that are computed from its colours alone.

What a mask hides has no part in either: every mean is one over the pixels inside.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_SURROUNDS = (2, 4, 8)


def frequency_tuned(lab: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return how far each pixel's colour, a little blurred, is from the image's mean colour.

    Achanta, Hemami, Estrada and Süsstrunk, "Frequency-tuned Salient Region Detection", CVPR 2009, equation 4. The blur
    is by the 5 x 5 binomial kernel.

    Args:
        lab: colours in L*a*b*, float32 (N, 3, H, W).
        mask: the pixels that count, bool (H, W), one at least.

    Returns:
        float32 (N, H, W), in units of L*a*b*; 0 outside the mask.

    Example:
        >>> lab = torch.zeros(1, 3, 9, 9)
        >>> lab[0, 0, 4, 4] = 81.0  # a bright spot: the mean lightness is 1
        >>> saliency = frequency_tuned(lab, torch.ones(9, 9, dtype=torch.bool))[0]
        >>> saliency[4, 4], saliency[0, 0]
        (tensor(10.3906), tensor(1.))
    """
    mean = (lab * mask).sum(dim=(2, 3), keepdim=True) / mask.sum()
    return _distance(_blurred(lab, mask), mean) * mask


def local_contrast(lab: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return how far each pixel's colour, a little blurred, is from that of its surroundings, near and far.

    After Achanta, Estrada, Wils and Süsstrunk, "Salient Region Detection and Segmentation", ICVS 2008: the surroundings
    are squares of a half, a quarter and an eighth of the image's side, and the three distances are averaged (the paper
    has their sum). The blur is that of [frequency_tuned][sslkit_saliency.maps.frequency_tuned].

    Args:
        lab: colours in L*a*b*, float32 (N, 3, H, W), square.
        mask: the pixels that count, bool (H, W).

    Returns:
        float32 (N, H, W), in units of L*a*b*; 0 outside the mask.

    Example:
        >>> lab = torch.zeros(1, 3, 32, 32)
        >>> lab[0, 0, 8, 8] = 100.0
        >>> local_contrast(lab, torch.ones(32, 32, dtype=torch.bool))[0].argmax() == 8 * 32 + 8
        tensor(True)
    """
    blurred = _blurred(lab, mask)
    contrasts = [_distance(blurred, _box_mean(lab, mask, lab.shape[-1] // part)) for part in _SURROUNDS]
    return sum(contrasts[1:], contrasts[0]) / len(contrasts) * mask


def to_unit_range(
    saliency: torch.Tensor, mask: torch.Tensor, quantile: float = 0.95, least: float = 1.0
) -> torch.Tensor:
    """Bring each image's map to 0..1: what reaches a quantile of it comes to 1.

    A quantile rather than the maximum, so that one reflection does not make all the rest dark. It counts as ``least``
    at least, so that the noise of an image of one colour is not made to stand out.

    Args:
        saliency: float32 (N, H, W), none negative.
        mask: the pixels that count, bool (H, W).
        quantile: in 0..1.
        least: in the map's units; of L*a*b*, one is less than can be seen.

    Returns:
        float32 (N, H, W).

    Example:
        >>> to_unit_range(torch.tensor([[[0.0, 1.0, 2.0, 8.0]]]), torch.ones(1, 4, dtype=torch.bool), quantile=2 / 3)
        tensor([[[0.0000, 0.5000, 1.0000, 1.0000]]])
    """
    reached = saliency[:, mask].quantile(quantile, dim=1).clamp(min=least)
    return (saliency / reached[:, None, None]).clamp(max=1)


def _distance(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the distance of colours (N, 3, H, W)."""
    a, b, c = (first - second).square().unbind(1)
    return (a + b + c).sqrt()


def _blurred(lab: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _binomial_sum(lab * mask) / _binomial_sum(mask[None, None].float()).clamp(min=1e-6)


def _binomial_sum(x: torch.Tensor) -> torch.Tensor:
    # By shifts, and not as a convolution: how that is computed, and so its last digits, may depend on the machine.
    height, width = x.shape[2:]
    x = F.pad(x, (0, 0, 2, 2))
    x = torch.stack([weight * x[:, :, i : i + height] for i, weight in enumerate(_BINOMIAL)]).sum(dim=0)
    x = F.pad(x, (2, 2))
    return torch.stack([weight * x[:, :, :, i : i + width] for i, weight in enumerate(_BINOMIAL)]).sum(dim=0)


def _box_mean(lab: torch.Tensor, mask: torch.Tensor, side: int) -> torch.Tensor:
    """Return the mean over the square about each pixel, of an odd side, of what is inside the mask and the image."""
    return _box_sum(lab * mask, side) / _box_sum(mask[None, None].float(), side).clamp(min=1)


def _box_sum(x: torch.Tensor, side: int) -> torch.Tensor:
    """Sum over squares of any size in the time of two running sums, in float64, where their difference stays exact."""
    reach, (height, width) = side // 2, x.shape[2:]
    running = F.pad(x.double(), (0, 0, reach + 1, reach)).cumsum(dim=2)
    x = running[:, :, -height:] - running[:, :, :height]
    running = F.pad(x, (reach + 1, reach)).cumsum(dim=3)
    return (running[:, :, :, -width:] - running[:, :, :, :width]).float()
