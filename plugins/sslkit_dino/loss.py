"""What one network says of a view, told by another that has seen another view."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def teacher_probabilities(logits: torch.Tensor, centre: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """Return the teacher's distributions, centred and sharpened (algorithm 1 of the paper).

    Args:
        logits: float32 (N, K).
        centre: float32 (K,), what the logits were on average.
        temperature: 0-d, above 0; the smaller, the sharper.

    Returns:
        float32 (N, K), whose rows sum to one.

    Example:
        >>> teacher_probabilities(torch.tensor([[1.0, 3.0]]), torch.tensor([1.0, 3.0]), torch.tensor(0.1))
        tensor([[0.5000, 0.5000]])
    """
    return F.softmax((logits - centre) / temperature, dim=1)


def dino_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the mean cross-entropy of all pairs of one view for the teacher and another for the student (equation 3).

    Args:
        student: logits of all V views of each image, the global ones first, float32 (N, V, K).
        teacher: the teacher's distributions for the G global views, G < V or G = V >= 2, float32 (N, G, K).
        temperature: the student's.

    Returns:
        0-d float32: the mean over images and over the G V - G pairs.

    Example:
        >>> student = torch.zeros(5, 3, 8)
        >>> teacher = torch.full((5, 2, 8), 1 / 8)
        >>> dino_loss(student, teacher, temperature=0.1)  # log 8
        tensor(2.0794)
    """
    log_probabilities = F.log_softmax(student / temperature, dim=2)
    of_pairs = -torch.einsum("ngk,nvk->gv", teacher, log_probabilities) / len(student)
    num_global, num_views = of_pairs.shape
    of_others = of_pairs.sum() - of_pairs.diagonal().sum()
    return of_others / (num_global * (num_views - 1))


def moved_centre(centre: torch.Tensor, mean: torch.Tensor, momentum: float) -> torch.Tensor:
    """Return the centre after a batch (equation 4): ``momentum * centre + (1 - momentum) * mean``.

    Args:
        centre: float32 (K,).
        mean: of the teacher's logits over the batch, float32 (K,).
        momentum: in 0..1.

    Example:
        >>> moved_centre(torch.zeros(2), torch.tensor([1.0, 2.0]), momentum=0.75).tolist()
        [0.25, 0.5]
    """
    return torch.lerp(mean, centre, momentum)


def entropy(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the entropy in nats of distributions, float (..., K): float (...); 0 for a certain one, log K at most.

    Example:
        >>> entropy(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
        tensor([0.6931, 0.0000])
    """
    of_classes: torch.Tensor = torch.special.entr(probabilities)
    return of_classes.sum(dim=-1)
