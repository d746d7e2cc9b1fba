"""The last feature map of a backbone, whatever layout its network gives it in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from sslkit.engine.heads import in_words
from sslkit.engine.networks import call_with_seed, evaluation_mode
from sslkit.errors import PluginError


def feature_map(backbone: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what ``backbone.forward_features(x)`` gives, as a map with its channels first.

    A map of four dimensions has its channels first, or last where the network's ``output_fmt`` is ``"NHWC"``, as timm's
    Swin transformers have it. Of a sequence of tokens (N, T, C) the first ``num_prefix_tokens`` are dropped (one where
    the network only has a ``cls_token``); the rest are taken in reading order, as many across as suits the image.

    Args:
        backbone: a network as a [Backbone][sslkit.Backbone] builds it.
        x: normalised images, float (N, 3, H, W).

    Returns:
        The map, (N, C, H', W'); how large it is, [feature_map_shape][sslkit.feature_map_shape] tells.

    Raises:
        sslkit.errors.PluginError: if what the network gives is no such map: several maps, say, or tokens that fill no
            rectangle.

    Example:
        >>> import timm
        >>> vit = timm.create_model("test_vit", num_classes=0, img_size=64)
        >>> feature_map(vit, torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 64, 4, 4])
    """
    network: Any = backbone
    return arrange_as_map(backbone, network.forward_features(x), x.shape)


def arrange_as_map(backbone: nn.Module, features: object, images: Sequence[int]) -> torch.Tensor:
    """Return what a network's ``forward_features`` gave, or a gradient of its shape, as a map (N, C, H', W').

    Args:
        backbone: the network.
        features: what it gave.
        images: the shape (N, 3, H, W) of what it was given.

    Raises:
        sslkit.errors.PluginError: if that is no map.
    """
    if not isinstance(features, torch.Tensor) or features.ndim not in (3, 4) or len(features) != images[0]:
        raise _no_map(backbone, in_words(features))
    if features.ndim == 4:
        return features.permute(0, 3, 1, 2) if getattr(backbone, "output_fmt", "") == "NHWC" else features
    return _map_of_tokens(backbone, features, images[2], images[3])


def feature_map_shape(backbone: nn.Module, image_size: int) -> tuple[int, int, int]:
    """Return the shape (C, H', W') of the map that [feature_map][sslkit.feature_map] gives of a square image.

    It is found by a trial with a black image, in eval mode: weights, statistics, modes and random numbers stay as they
    are. It is for the layers that a pretext task puts on top of the map: ``head_hidden_size`` is the width of the
    pooled representation, which in some networks is not the map's number of channels.

    Args:
        backbone: a network as a [Backbone][sslkit.Backbone] builds it.
        image_size: side of the image in pixels.

    Raises:
        sslkit.errors.PluginError: if the network gives no such map.

    Example:
        >>> import timm
        >>> feature_map_shape(timm.create_model("mobilenetv3_small_050", num_classes=0), 64)
        (288, 2, 2)
    """
    weight = next(backbone.parameters(), torch.empty(0))
    image = torch.zeros(1, 3, image_size, image_size, dtype=weight.dtype, device=weight.device)
    with evaluation_mode(backbone):
        features = call_with_seed(0, partial(feature_map, backbone, image))
    channels, height, width = features.shape[1:]
    return channels, height, width


def why_no_feature_map(backbone: nn.Module, image_size: int) -> str | None:
    """Return why a network gives no feature map of square images of this side, or None if it does.

    It is what a pretext task that predicts something at each place of an image answers in
    [supports][sslkit.PretextTask.supports].

    Args:
        backbone: a network as a [Backbone][sslkit.Backbone] builds it.
        image_size: side of the images in pixels.

    Example:
        >>> import timm
        >>> why_no_feature_map(timm.create_model("resnet10t", num_classes=0), 64) is None
        True
    """
    try:
        feature_map_shape(backbone, image_size)
    except PluginError as error:
        return str(error)
    return None


def _map_of_tokens(backbone: nn.Module, tokens: torch.Tensor, image_height: int, image_width: int) -> torch.Tensor:
    """Lay tokens (N, T, C) out as a map that has the image's ratio of height to width."""
    if backbone.training and getattr(getattr(backbone, "patch_drop", None), "prob", 0) > 0:
        raise _no_map(backbone, "what patch dropout left of the tokens; build it with patch_drop_rate = 0")
    prefix = getattr(backbone, "num_prefix_tokens", int(hasattr(backbone, "cls_token")))
    num_places = tokens.shape[1] - prefix
    height = math.isqrt(max(num_places, 0) * image_height // image_width)
    width = num_places // height if height else 0
    if height * width != num_places or height * image_width != width * image_height or not height:
        image = f"an image of {image_height} x {image_width} pixels"
        raise _no_map(backbone, f"{tokens.shape[1]} tokens of {image}, {prefix} of them a prefix: the rest fill no map")
    return tokens[:, prefix:].transpose(1, 2).reshape(len(tokens), -1, height, width)


def _no_map(backbone: nn.Module, given: str) -> PluginError:
    return PluginError(
        f"no feature map can be had of the backbone {type(backbone).__name__}: its forward_features() gives {given}. "
        "Accepted: one tensor, (N, C, H, W), (N, H, W, C) with output_fmt = 'NHWC', or (N, T, C) with its "
        "num_prefix_tokens. Take another backbone for a pretext task that needs the map"
    )
