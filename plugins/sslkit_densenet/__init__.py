"""DenseNet121, the backbone of the work that this toolkit reproduces.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", CVPR 2017, arXiv 1608.06993,
as timm implements it: 6,953,856 parameters without the classifier, representations of D = 1024.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import timm
from torch import nn

from sslkit import Backbone, ConfigPath, PluginConfig, hookimpl, load_timm_weights, load_weights

_CLASSIFIER = ("classifier",)
_SMALLEST_IMAGE = 29


class DenseNet121Config(PluginConfig):
    """Options of the DenseNet121 backbone.

    Attributes:
        weights: a file of published weights (``.safetensors`` or ``.pth``) with timm's names, for the ``imagenet``
            arm; its classifier is dropped, everything else must match. None: timm's hub, or what is cached of it.
    """

    weights: ConfigPath | None = None


class DenseNet121(Backbone[DenseNet121Config]):
    """timm's DenseNet121 without its classifier.

    Example:
        >>> network = DenseNet121(DenseNet121Config()).build()
        >>> network.head_hidden_size
        1024
    """

    name = "densenet121"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = DenseNet121Config

    def __init__(self, config: DenseNet121Config) -> None:
        super().__init__(config)
        published: Any = timm.get_pretrained_cfg(self.name)
        self.mean, self.std = published.mean, published.std

    def build(self, *, pretrained: bool = False) -> nn.Module:
        """Return a new DenseNet121 without its classifier.

        Args:
            pretrained: load the file of the configuration's ``weights``, or what timm publishes.

        Raises:
            sslkit.errors.WeightsError: if the weights cannot be had or do not fit.
        """
        network = timm.create_model(self.name, num_classes=0)
        if pretrained and self.config.weights is not None:
            load_weights(network, self.config.weights, ignore=_CLASSIFIER)
        elif pretrained:
            load_timm_weights(network, self.name, ignore=_CLASSIFIER)
        return network

    def supports(self, image_size: int) -> str | None:
        """Return why images of this side are too small, or None if they are not."""
        if image_size >= _SMALLEST_IMAGE:
            return None
        # ceil(n / 2) twice, then floor(n / 2) three times: below 29 nothing is left to pool.
        return f"DenseNet121 halves its input five times and needs at least {_SMALLEST_IMAGE} px, not {image_size}"


@hookimpl
def sslkit_backbones() -> Iterable[type[Backbone[Any]]]:
    """Announce DenseNet121."""
    return (DenseNet121,)
