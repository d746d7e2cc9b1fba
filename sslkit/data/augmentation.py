"""Augmentation of batch tensors, a pure function of an explicit generator."""

from __future__ import annotations

from typing import Literal

import torch

Augmentation = Literal["flips-turns", "flips", "none"]

NUM_SYMMETRIES = 8
"""Symmetries of the square: four turns, each with and without a flip."""


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
    return apply_symmetries(images, draw_symmetries(len(images), kind, generator))


def draw_symmetries(count: int, kind: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Return a symmetry of the square for each of ``count`` images: int64 (N,) in 0..7, 0 leaves an image as it is.

    Args:
        count: how many.
        kind: as for [augment][sslkit.data.augmentation.augment].
        generator: the only source of randomness, on the CPU.
    """
    if kind == "none":
        return torch.zeros(count, dtype=torch.int64)
    # As flips and turns: none, left-right, both (a half turn), up-down (a half turn after left-right).
    choices = torch.arange(NUM_SYMMETRIES) if kind == "flips-turns" else torch.tensor([0, 4, 2, 6])
    return choices[torch.randint(len(choices), (count,), generator=generator)]


def apply_symmetries(images: torch.Tensor, symmetries: torch.Tensor) -> torch.Tensor:
    """Return images (N, C, H, W), each under its symmetry, int64 (N,) in 0..7; themselves where all are 0."""
    wanted = set(symmetries.tolist())
    if wanted <= {0}:
        return images
    output = torch.empty_like(images)
    for symmetry in wanted:
        rows = (symmetries == symmetry).nonzero().flatten().to(images.device)
        output[rows] = _transform(images[rows], symmetry)
    return output


def _transform(images: torch.Tensor, symmetry: int) -> torch.Tensor:
    """Turn by (symmetry mod 4) quarter turns, after a left-right flip where symmetry is 4 or more."""
    flipped = images.flip(3) if symmetry >= 4 else images
    return torch.rot90(flipped, symmetry % 4, (2, 3))
