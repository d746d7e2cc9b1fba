"""The triplet loss: a view lies nearer to the other view of its image than to the views of all other images."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

Negatives = Literal["all", "semi-hard"]


def squared_distances(z: torch.Tensor) -> torch.Tensor:
    """Return the squared Euclidean distances of embeddings, each brought to length one.

    Args:
        z: float (N, D).

    Returns:
        float32 (N, N), each 0..4: twice the cosine distance, ``2 - 2 cos``.

    Example:
        >>> squared_distances(torch.tensor([[2.0, 0.0], [0.0, 0.5], [-1.0, 0.0]])).tolist()
        [[0.0, 2.0, 4.0], [2.0, 0.0, 2.0], [4.0, 2.0, 0.0]]
    """
    unit = F.normalize(z.float(), dim=1)
    return 2 - 2 * unit @ unit.T


def triplet_loss(distances: torch.Tensor, margin: float, negatives: Negatives = "all") -> torch.Tensor:
    """Return the mean of ``max(0, d(a, p) - d(a, n) + margin)`` over triplets (Schroff et al. 2015, equation 2).

    Every view is an anchor a; its positive p is the other view of its image, and a negative n a view of another image.

    Args:
        distances: float (2N, 2N) between views; rows 2 i and 2 i + 1 are those of image i, of two images at least.
        margin: by how much nearer the positive is to be.
        negatives: which of them make triplets. "all": every view of every other image. "semi-hard" (ibid., section
            3.2): for each anchor, the nearest of those that are farther from it than its positive is; where none is,
            the farthest.

    Returns:
        0-d, of the distances' dtype.

    Raises:
        ValueError: if there are views of fewer than two images.

    Example:
        >>> distances = torch.tensor([[0.0, 1, 2, 3], [1, 0, 4, 1], [2, 4, 0, 1], [3, 1, 1, 0]])
        >>> [triplet_loss(distances, margin).item() for margin in (1.0, 2.0)]
        [0.25, 0.75]
    """
    to_positive, others = _positives(distances), _others(distances)
    if negatives == "all":
        return _mean_over((to_positive - distances + margin).clamp(min=0), others)
    farther = others & (distances > to_positive)
    farthest = distances.masked_fill(~others, -torch.inf).amax(dim=1, keepdim=True)
    to_negative = torch.where(farther.any(dim=1, keepdim=True), _nearest(distances, farther), farthest)
    return (to_positive - to_negative + margin).clamp(min=0).mean()


def share_of_violations(distances: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the share of all triplets whose positive is not nearer than the negative by the margin.

    Args:
        distances: float (2N, 2N), as [triplet_loss][sslkit_exemplar.triplets.triplet_loss] takes them.
        margin: the same.

    Returns:
        0-d, 0..1.

    Example:
        >>> distances = torch.tensor([[0.0, 1, 2, 3], [1, 0, 4, 1], [2, 4, 0, 1], [3, 1, 1, 0]])
        >>> share_of_violations(distances, 1.0).item()
        0.25
    """
    return _mean_over((_positives(distances) - distances + margin > 0).to(distances.dtype), _others(distances))


def share_of_nearest_positives(distances: torch.Tensor) -> torch.Tensor:
    """Return the share of views to which the other view of their image is nearer than all views of other images.

    Args:
        distances: float (2N, 2N), as [triplet_loss][sslkit_exemplar.triplets.triplet_loss] takes them.

    Returns:
        0-d, 0..1; where all distances are the same, 0.

    Example:
        >>> distances = torch.tensor([[0.0, 1, 2, 3], [1, 0, 4, 1], [2, 4, 0, 1], [3, 1, 1, 0]])
        >>> share_of_nearest_positives(distances).item()
        0.5
    """
    return (_positives(distances) < _nearest(distances, _others(distances))).to(distances.dtype).mean()


def _positives(distances: torch.Tensor) -> torch.Tensor:
    """Return the distance of each view from the other one of its image, (2N, 1)."""
    other_view = torch.arange(len(distances), device=distances.device).view(-1, 2).flip(1).view(-1, 1)
    return distances.gather(1, other_view)


def _others(distances: torch.Tensor) -> torch.Tensor:
    """Return which views are of other images, bool (2N, 2N)."""
    if len(distances) < 4:
        raise ValueError(f"an image is told from the others of its batch; give two or more, not {len(distances) // 2}")
    image = torch.arange(len(distances), device=distances.device) // 2
    return image.unsqueeze(1) != image


def _nearest(distances: torch.Tensor, among: torch.Tensor) -> torch.Tensor:
    return distances.masked_fill(~among, torch.inf).amin(dim=1, keepdim=True)


def _mean_over(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return (values * counted).sum() / counted.sum()
