"""The contract of a backbone: how to build an encoder, and what it can take."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from sslkit.interfaces.plugin import ConfigT, Plugin


class Backbone(Plugin[ConfigT], ABC):
    """Builds encoders that quack as a timm model does.

    What ``build`` returns has ``forward_features(x)`` from normalised float (N, 3, H, W) to the last map or tokens,
    ``forward_head(map, pre_logits=True)`` to (N, D), and ``head_hidden_size`` = D.

    Args:
        config: the backbone's own options.
    """

    tags: ClassVar[frozenset[str]] = frozenset({"bf16", "compile"})

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of each channel (0..1) that the network expects to be taken off."""

    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of each channel (0..1) that the network expects to be divided by."""

    @abstractmethod
    def build(self, *, pretrained: bool = False) -> nn.Module:
        """Return a new network, initialised from torch's global generator.

        Args:
            pretrained: load published weights (the ``imagenet`` arm) in place of random ones.

        Raises:
            sslkit.errors.WeightsError: if the weights cannot be had or do not fit.
        """

    def supports(self, image_size: int) -> str | None:
        """Return why square images of this side cannot be used, or None if they can."""
        return None
