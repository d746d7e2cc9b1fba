"""Convolutions that a CPU cannot train in bf16."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sslkit.engine.networks import call_with_seed, evaluation_mode, representation


def strides_over_a_point(network: nn.Module, image_size: int) -> bool:
    """Return whether a network, on square images of this side, convolves a map of one pixel with a stride above 1.

    oneDNN's gradient of the weights of such a convolution, if its kernel is larger than one pixel, has numbers in it
    that were in memory before, in bf16 on a CPU (torch 2.14). They may be NaN.

    Args:
        network: a network as a [Backbone][sslkit.Backbone] builds it, on the CPU; looked at in eval mode.
        image_size: side in pixels; one that the network takes.

    Example:
        >>> import timm
        >>> network = timm.create_model("resnet10t", num_classes=0)
        >>> strides_over_a_point(network, 16), strides_over_a_point(network, 64)
        (True, False)
    """
    found = []

    def look(layer: nn.Conv2d, inputs: tuple[Any, ...]) -> None:
        if max(layer.stride) > 1 and max(layer.kernel_size) > 1 and tuple(inputs[0].shape[2:]) == (1, 1):
            found.append(layer)

    hooks = [layer.register_forward_pre_hook(look) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    try:
        with evaluation_mode(network):
            call_with_seed(0, lambda: representation(network, torch.zeros(1, 3, image_size, image_size)))
    finally:
        for hook in hooks:
            hook.remove()
    return bool(found)
