"""How far predicted pixels are from the true ones, where they were hidden."""

from __future__ import annotations

import torch


def normalized_patches(patches: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Bring the pixels of each patch to mean 0 and standard deviation 1 (He et al. 2021, section 3).

    All channels are taken together, as the paper's authors do; only pixels that show the subject count, and others come
    to be zero.

    Args:
        patches: grey levels 0..255, float (N, T, C * P).
        shown: which of a patch's P pixels show the subject, bool (N, T, P).

    Returns:
        ``(patches - mean) / sqrt(variance + 1)``, float of the same shape. The one grey level squared keeps a patch of
        one colour finite, and the noise of a nearly even one small.

    Example:
        >>> shown = torch.tensor([[[True, True, False]]])
        >>> normalized_patches(torch.tensor([[[10.0, 210.0, 255.0]]]), shown).round(decimals=3).tolist()
        [[[-1.0, 1.0, 0.0]]]
    """
    weights = _of_channels(shown, patches)
    count = weights.sum(dim=2, keepdim=True).clamp(min=1)
    mean = (weights * patches).sum(dim=2, keepdim=True) / count
    centred = weights * (patches - mean)
    variance = centred.square().sum(dim=2, keepdim=True) / count
    return centred * (variance + 1).rsqrt()


def reconstruction_loss(predicted: torch.Tensor, targets: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error over pixels of hidden patches that show the subject.

    Args:
        predicted: of the hidden patches alone, float32 (N, M, C * P).
        targets: float32 (N, M, C * P).
        shown: which of a patch's P pixels show the subject, bool (N, M, P), one of all at least.

    Returns:
        0-d float32.

    Example:
        >>> shown = torch.tensor([[[True, False]]])
        >>> reconstruction_loss(torch.tensor([[[3.0, 9.0]]]), torch.tensor([[[1.0, 0.0]]]), shown)
        tensor(4.)
    """
    weights = _of_channels(shown, predicted)
    return (weights * (predicted - targets).square()).sum() / weights.sum()


def target_variance(targets: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Return the variance of all targets that count, about the mean of each: the loss of the best constant guess.

    Args:
        targets: float32 (N, M, C * P).
        shown: bool (N, M, P).

    Returns:
        0-d float32.
    """
    weights = _of_channels(shown, targets)
    mean = (weights * targets).sum() / weights.sum()
    return (weights * (targets - mean).square()).sum() / weights.sum()


def _of_channels(shown: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Return weights of pixels, bool (N, T, P), for all channels of patches (N, T, C * P)."""
    return shown.to(patches.dtype).repeat(1, 1, patches.shape[2] // shown.shape[2])
