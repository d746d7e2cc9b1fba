"""How far predicted pixels are from the true ones, where they were hidden."""

from __future__ import annotations

import torch

from sslkit import gather, weighted_mean


def normalized_patches(patches: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Bring each channel of each patch to mean 0 and standard deviation 1 (after He et al. 2021, section 3).

    Only pixels that show the subject count; others come to be zero.

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
    mean, variance = patch_statistics(patches, shown)
    channels, weights = _by_channel(patches, shown)
    return (weights * (channels - mean) * (variance + 1).rsqrt()).flatten(2)


def restored_patches(normalized: torch.Tensor, patches: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Undo [normalized_patches][sslkit_mae.loss.normalized_patches] with the means and variances of some patches.

    Args:
        normalized: float (N, T, C * P).
        patches: those that mean and variance are taken from, grey levels 0..255, float (N, T, C * P).
        shown: bool (N, T, P).

    Returns:
        Grey levels, float (N, T, C * P).
    """
    mean, variance = patch_statistics(patches, shown)
    channels, _ = _by_channel(normalized, shown)
    return (channels * (variance + 1).sqrt() + mean).flatten(2)


def patch_statistics(patches: torch.Tensor, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance of each channel of each patch over the pixels that show the subject.

    Args:
        patches: float (N, T, C * P).
        shown: bool (N, T, P).

    Returns:
        Two tensors, float (N, T, C, 1); zero where no pixel counts.
    """
    channels, weights = _by_channel(patches, shown)
    count = weights.sum(dim=3, keepdim=True).clamp(min=1)
    mean = (weights * channels).sum(dim=3, keepdim=True) / count
    return mean, (weights * (channels - mean).square()).sum(dim=3, keepdim=True) / count


def reconstruction_loss(predicted: torch.Tensor, targets: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error over pixels of hidden patches that show the subject.

    Args:
        predicted: of the hidden patches alone, float32 (N, M, C * P).
        targets: float32 (N, M, C * P).
        shown: which of a patch's P pixels show the subject, bool (N, M, P), one of all at least.

    Returns:
        0-d float32; where several processes train together, this one's part of what is of all of them.

    Example:
        >>> shown = torch.tensor([[[True, False]]])
        >>> reconstruction_loss(torch.tensor([[[3.0, 9.0]]]), torch.tensor([[[1.0, 0.0]]]), shown)
        tensor(4.)
    """
    errors, weights = _by_channel(predicted - targets, shown)
    return weighted_mean(errors.square(), weights)


def target_variance(targets: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Return the variance of all targets that count, each channel about its mean: the loss of the best one colour.

    Args:
        targets: float32 (N, M, C * P).
        shown: bool (N, M, P).

    Returns:
        0-d float32; where several processes train together, this one's part of what is of all of them.
    """
    channels, weights = _by_channel(targets, shown)
    sums, counted = (weights * channels).sum(dim=(0, 1, 3), keepdim=True), weights.sum().view(1)
    mean = gather(sums).sum(dim=0, keepdim=True) / gather(counted).sum()
    return weighted_mean((channels - mean).square(), weights)


def _by_channel(patches: torch.Tensor, shown: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return patches (N, T, C * P) as (N, T, C, P), and the weights of their pixels, (N, T, 1, P)."""
    return patches.reshape(*shown.shape[:2], -1, shown.shape[2]), shown.unsqueeze(2).to(patches.dtype)
