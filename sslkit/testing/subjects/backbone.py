"""A backbone to be checked, and the networks that it builds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import nn

from sslkit.data.normalization import normalize
from sslkit.engine.networks import build_network, call_with_seed, evaluation_mode, representation
from sslkit.interfaces import Backbone
from sslkit.testing.samples import sample_images
from sslkit.testing.subjects.subject import Subject


class BackboneSubject(Subject):
    """A backbone plugin, the networks that it builds, and small images for them."""

    kind = "backbone"
    cls: type[Backbone[Any]]
    sizes = (8, 16, 24, 32, 33, 48, 64, 75, 96, 128, 160, 192, 224, 256, 384, 448, 512)
    """Sides of images, in pixels, of which a backbone is to take one at least."""

    @cached_property
    def backbone(self) -> Backbone[Any]:
        """The plugin."""
        return self.cls(self.config)

    def supported(self, sizes: Iterable[int]) -> Iterator[int]:
        """Yield those of some sizes that the backbone says it takes."""
        return (size for size in sizes if self.backbone.supports(size) is None)

    @cached_property
    def image_size(self) -> int:
        """64 pixels, or the nearest size that the backbone says it takes; 224 if it takes none."""
        return next(self.supported(sorted(self.sizes, key=lambda size: abs(size - 64))), 224)

    def build(self, seed: int = 0) -> nn.Module:
        """Return a network as a run builds it: its weights from a seed."""
        network: nn.Module = call_with_seed(seed, lambda: build_network(self.backbone))
        return network

    def images(self, count: int = 4, size: int | None = None) -> torch.Tensor:
        """Return normalised images, float32 (N, 3, H, W), in the usual layout."""
        return normalize(sample_images(count, size or self.image_size), Backbone.mean, Backbone.std).contiguous()

    def represent(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return the representations of a copy of the images, (N, D), with the global generator seeded."""
        h: torch.Tensor = call_with_seed(0, lambda: representation(network, x.clone()))
        return h

    def encode(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return the representations, (N, D), as evaluation computes them: in eval mode, without gradients."""
        with evaluation_mode(network):
            return self.represent(network, x)
