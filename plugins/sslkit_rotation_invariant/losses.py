"""What the two halves of a representation are trained by: the turn, and the image whatever its turn.

Feng, Xu and Tao, CVPR 2019, sections 3.1 to 3.3.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

NUM_TURNS = 4


def rotation_loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted cross-entropy of the turns, averaged over the views and not over the weights.

    Args:
        logits: float32 (V, 4).
        labels: int64 (V,) in 0..3.
        weights: float32 (V,), not differentiated.

    Returns:
        0-d float32.

    Example:
        >>> rotation_loss(torch.zeros(2, 4), torch.tensor([0, 1]), torch.tensor([1.0, 0.5]))  # 0.75 log 4
        tensor(1.0397)
    """
    return (weights.detach() * F.cross_entropy(logits, labels, reduction="none")).mean()


def turn_weights(upright: torch.Tensor, labels: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return how much each view counts when turns are classified: little, where it looks upright and has been turned.

    A disc looks the same in all turns, and its labels are noise. An upright view is known to be upright (positive); of
    a turned one it is not known whether it looks so, too (unlabelled): it counts 1 - p^gamma.

    Args:
        upright: the probability p that each view is one that has not been turned, float32 (V,).
        labels: the turns, int64 (V,); 0 is upright.
        gamma: above 0; the larger it is, the surer p must be to have a say.

    Returns:
        float32 (V,), each in 0..1.

    Example:
        >>> turn_weights(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0, 1, 2]), gamma=2.0).tolist()
        [1.0, 0.75, 1.0]
    """
    return torch.where(labels == 0, torch.ones_like(upright), 1 - upright**gamma)


def invariance_loss(features: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference between the features of a view and the mean of those of its image.

    Args:
        features: of each image's views, float32 (N, V, D).

    Returns:
        0-d float32, a mean over images, views and features.

    Example:
        >>> invariance_loss(torch.tensor([[[0.0], [0.0], [2.0], [2.0]]]))
        tensor(1.)
    """
    return (features - features.mean(dim=1, keepdim=True)).square().mean()


def instance_loss(projected: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of telling the image of each view, and how often the right one is the likeliest.

    Each view is compared with one vector an image, all of unit length: the mean over that image's views, and for its
    own image the mean over the other views, so that no view is compared with itself. Cross-entropy over the images, by
    cosine similarity over temperature (the non-parametric softmax of Wu et al. 2018, arXiv 1805.01978, equation 2).

    Args:
        projected: of each image's views, of any length, float32 (N, V, P), two images and two views at least.
        temperature: above 0.

    Returns:
        Two 0-d float32 tensors: the mean of the cross-entropy over the views, and that of the hits.

    Raises:
        ValueError: if there are fewer than two images: none is to be told from another.

    Example:
        >>> of_two_images = torch.tensor([[[1.0, 0.0]] * 4, [[0.0, 1.0]] * 4])
        >>> loss, accuracy = instance_loss(of_two_images, temperature=0.05)
        >>> round(loss.item(), 4), accuracy.item()
        (0.0, 1.0)
    """
    num_images, num_views = projected.shape[:2]
    if num_images < 2:
        raise ValueError("images are told from one another: give a batch of two or more, not of one")
    summed = projected.sum(dim=1, keepdim=True)
    views = F.normalize(projected, dim=2)
    means, others = F.normalize(summed.squeeze(1), dim=1), F.normalize(summed - projected, dim=2)
    similarities = views @ means.T
    own = torch.eye(num_images, dtype=torch.bool, device=projected.device).unsqueeze(1)
    similarities = torch.where(own, (views * others).sum(dim=2, keepdim=True), similarities)
    logits = similarities.flatten(0, 1) / temperature
    labels = torch.arange(num_images, device=projected.device).repeat_interleave(num_views)
    hits = logits.detach().argmax(dim=1) == labels
    return F.cross_entropy(logits, labels), hits.float().mean()
