"""Augmentation of batch tensors, a pure function of an explicit generator."""

from __future__ import annotations

from typing import Literal

import torch

Augmentation = Literal["flips-turns", "flips", "none"]


def augment(images: torch.Tensor, kind: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Flip and turn each image at random, without resampling.

    Args:
        images: (N, C, H, W), any dtype; H = W for ``"flips-turns"``.
        kind: ``"flips-turns"``: one of the eight symmetries of the square; ``"flips"``: left-right and up-down;
            ``"none"``: the images as they are.
        generator: the only source of randomness, on the CPU.

    Returns:
        A tensor of the same shape, dtype and memory format.

    Example:
        >>> images = torch.arange(4).reshape(1, 1, 2, 2)
        >>> augment(images, "none", torch.Generator()).tolist()
        [[[[0, 1], [2, 3]]]]
    """
    if kind == "none":
        return images
    # As flips and turns: none, left-right, both (a half turn), up-down (a half turn after left-right).
    choices = torch.arange(8) if kind == "flips-turns" else torch.tensor([0, 4, 2, 6])
    symmetries = choices[torch.randint(len(choices), (len(images),), generator=generator)]
    output = torch.empty_like(images)
    for symmetry in set(symmetries.tolist()):
        rows = (symmetries == symmetry).nonzero().flatten().to(images.device)
        output[rows] = _transform(images[rows], symmetry)
    return output


def _transform(images: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Turn by (symmetry mod 4) quarter turns, after a left-right flip where symmetry is 4 or more."""
    flipped = images.flip(3) if symmetry >= 4 else images
    return torch.rot90(flipped, symmetry % 4, (2, 3))
