"""InfoNCE over places of a grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F


def info_nce(
    predictions: Sequence[torch.Tensor], targets: torch.Tensor, steps: Sequence[int], scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of predicted patches, and how often the right one is the likeliest.

    Equation 4 of van den Oord, Li and Vinyals 2018, arXiv 1807.03748: the cross-entropy of picking, by the product with
    the prediction, the patch that is k rows below among all patches of all images.

    Args:
        predictions: for each step k, what the contexts of the upper R - k rows say of the place k rows below, float32
            (N, T, R - k, C).
        targets: of all patches, float32 (N, T, R, C).
        steps: the rows that each prediction reaches down, 1 to R - 1.
        scale: factor of the products.

    Returns:
        Two 0-d float32 tensors: the mean over a step's places, then over the steps, of the cross-entropy and of the
        hits. Without any knowledge they are log(N R C) and 1 / (N R C).

    Example:
        >>> targets = torch.eye(4).view(2, 2, 4).transpose(1, 2).unsqueeze(3)  # two images, two rows, one column
        >>> targets.shape
        torch.Size([2, 4, 2, 1])
        >>> loss, accuracy = info_nce([targets[:, :, 1:]], targets, steps=[1], scale=100.0)
        >>> loss.item(), accuracy.item()
        (0.0, 1.0)
    """
    rows = targets.shape[2]
    candidates = _by_place(targets)
    numbers = torch.arange(len(candidates), device=targets.device).view(len(targets), rows, -1)
    losses, hits = [], []
    for step, prediction in zip(steps, predictions, strict=True):
        logits = scale * _by_place(prediction) @ candidates.T
        labels = numbers[:, step:].flatten()
        losses.append(F.cross_entropy(logits, labels))
        hits.append((logits.detach().argmax(dim=1) == labels).float().mean())
    return torch.stack(losses).mean(), torch.stack(hits).mean()


def _by_place(x: torch.Tensor) -> torch.Tensor:
    """Return what lies at each place of grids (N, T, R, C), image by image and row by row, (N R C, T)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)
