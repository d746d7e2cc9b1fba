"""Grad-CAM: which places of the last feature map speak for a class.

Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, "Grad-CAM: Visual explanations from deep networks via
gradient-based localization", ICCV 2017, arXiv 1610.02391: with A the feature map and y the class's score,

    alpha_k = mean over places (i, j) of  dy / dA[k, i, j]        (1)
    heat    = ReLU( sum over k of alpha_k A[k] )                  (2)

The paper's score is a logit. A head here may have one logit a class, one a threshold, or a single number, so y is taken
from what every head answers: it is the log-odds of the predicted class's probability, log(p / (1 - p)). Its gradient is
that of log p times 1 / (1 - p), one positive number for all places, so that the map, once scaled to its maximum, is
that of log p; but it does not vanish in rounding where p is near 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from sslkit.data.normalization import normalize
from sslkit.engine.feature_maps import arrange_as_map
from sslkit.engine.heads import decode, logits_of
from sslkit.engine.networks import Encoder
from sslkit.errors import PluginError
from sslkit.interfaces import DownstreamHead

_STEPS = tuple(0.0025 * 4**power for power in range(7))
"""How far logits are moved to see the log-odds change: 0.0025 to 10; further only where nothing has changed."""

_LEAST_CHANGE = 1e-4
"""Of the log-odds, over a step: below it float32 probabilities tell nothing but their rounding."""


def class_direction(head: DownstreamHead[Any], logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return the derivative of the log-odds of a class with respect to each logit.

    It is taken by central differences of what ``head.predict`` answers, since that is all that a head promises: it need
    not be differentiable, and what was fitted across folds (cut points, a temperature) counts as it does in the answer.
    Where a step changes nothing, as where a probability is 1 in float32, a longer one is taken.

    Args:
        head: decodes logits.
        logits: float32 (N, L), on the CPU.
        classes: int64 (N,), in 0..K-1.

    Returns:
        float32 (N, L); zero where no step changes the class's probability.

    Example:
        >>> from sslkit import build_registry
        >>> head = build_registry().find("head", "dr-grade").cls
        >>> ordinal = head(head.Config(encoding="ordinal"), num_features=8)
        >>> logits = torch.tensor([[2.0, 1.0, -1.0, -2.0]])
        >>> class_direction(ordinal, logits, torch.tensor([2])).sign().tolist()
        [[0.0, 1.0, -1.0, 0.0]]
    """
    count, width = logits.shape
    moves = torch.eye(width)
    slopes = torch.zeros(count, width)
    flat = torch.ones(count, dtype=torch.bool)
    for step in _STEPS:
        moved = torch.stack([logits[flat, None] + step * moves, logits[flat, None] - step * moves])
        wanted = classes[flat][None, :, None].expand(2, -1, width).reshape(-1)
        shares = decode(head, moved.reshape(-1, width)).probabilities
        odds = _log_odds(shares, wanted).view(2, -1, width)
        change = odds[0] - odds[1]
        slopes[flat] = change / (2 * step)
        flat[flat.clone()] = change.abs().amax(dim=1) < _LEAST_CHANGE
        if not flat.any():
            break
    slopes[flat] = 0
    return slopes


def _log_odds(probabilities: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return log(p / (1 - p)) of one class a row; 1 - p is summed over the others, or it would round to 0."""
    own = F.one_hot(classes, probabilities.shape[1]).bool()
    shares = probabilities.double()
    tiny = torch.finfo(torch.float32).tiny
    spoken = shares.masked_fill(~own, 0).sum(dim=1).clamp(min=tiny)
    against = shares.masked_fill(own, 0).sum(dim=1).clamp(min=tiny)
    return (spoken.log() - against.log()).float()


def grad_cam(
    encoder: Encoder, head: DownstreamHead[Any], images: torch.Tensor, directions: torch.Tensor, *, layer: str = "map"
) -> torch.Tensor:
    """Return equation 2 of the paper for a score whose derivative with respect to the logits is known.

    Computed in float32, whatever the encoder's precision. It takes least memory where no parameter requires a gradient.

    Args:
        encoder: in eval mode.
        head: in eval mode.
        images: uint8 (N, 3, H, W), on the device.
        directions: float32 (N, L), of [class_direction][sslkit.engine.grad_cam.class_direction].
        layer: of [heat_layer][sslkit.engine.grad_cam.heat_layer].

    Returns:
        float32 (N, H', W'), not negative, as large as the feature map.
    """
    activation, logits = _open_graph(encoder, head, images, layer)
    score = (logits * directions.to(logits.device)).sum()
    (gradient,) = torch.autograd.grad(score, activation, allow_unused=True)
    if gradient is None:
        gradient = torch.zeros_like(activation)
    weights, maps = (arrange_as_map(encoder.backbone, part, images.shape) for part in (gradient, activation.detach()))
    return (weights.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).relu()


def heat_layer(encoder: Encoder, head: DownstreamHead[Any], image_size: int) -> str:
    """Return which layer's map Grad-CAM can be had of, for square images of a side.

    ``"map"`` is the last feature map. A vision transformer that reads its class token alone gives that map no gradient:
    there it is ``"block"``, what enters the last of its ``blocks``, whose attention is where the patches are read.

    Raises:
        PluginError: if there is none, saying why.
    """
    noise = torch.randint(256, (1, 3, image_size, image_size), generator=torch.Generator().manual_seed(0))
    images = encoder.compute.send(noise.to(torch.uint8))
    layers = ["map", "block"] if isinstance(getattr(encoder.backbone, "blocks", None), nn.Sequential) else ["map"]
    for layer in layers:
        activation, logits = _open_graph(encoder, head, images, layer)
        (gradient,) = torch.autograd.grad(logits.sum(), activation, allow_unused=True)
        if gradient is not None and arrange_as_map(encoder.backbone, gradient, images.shape).any():
            return layer
    raise PluginError(
        f"no Grad-CAM can be had of the backbone {type(encoder.backbone).__name__}: its representation does not depend "
        "on its last feature map. Take a backbone that pools its map, or grade without --cam"
    )


def _open_graph(
    encoder: Encoder, head: DownstreamHead[Any], images: torch.Tensor, layer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a layer puts out, and the logits with a graph that begins there."""
    backbone: Any = encoder.backbone
    inputs = normalize(images, encoder.mean, encoder.std).float()
    kept: list[torch.Tensor] = []

    def leaf(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.detach().requires_grad_())
        return kept[-1].clone()  # a layer may work in place, which a leaf does not allow

    with torch.enable_grad():
        if layer == "block":
            handle = backbone.blocks[-1].register_forward_pre_hook(lambda block, given: (leaf(given[0]), *given[1:]))
            try:
                features = backbone.forward_features(inputs)
            finally:
                handle.remove()
        else:
            with torch.no_grad():
                features = backbone.forward_features(inputs)
            arrange_as_map(backbone, features, images.shape)  # refuses what is no map before it is differentiated
            features = leaf(features)
        logits = logits_of(head, backbone.forward_head(features, pre_logits=True).float())
    return kept[0], logits


def spread_heat(maps: torch.Tensor, size: int, mask: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float32]:
    """Return maps as large as the images, each divided by its own maximum.

    Args:
        maps: float32 (N, H', W'), not negative.
        size: S, the side of the images.
        mask: bool (S, S), true where the images show something; elsewhere the heat is 0.

    Returns:
        float32 (N, S, S) in 0..1; 0 everywhere where a map is.

    Example:
        >>> spread_heat(torch.tensor([[[0.0, 2.0]]]), 4)[0, 0].round(1).tolist()
        [0.0, 0.20000000298023224, 0.699999988079071, 1.0]
    """
    # Bilinear enlarging has creases, which look like edges of something; bicubic overshoots below 0 instead.
    large = F.interpolate(maps[:, None].float(), (size, size), mode="bicubic", align_corners=False)[:, 0].cpu()
    large = large.clamp(min=0)
    heat = large if mask is None else large * torch.from_numpy(mask)
    peaks = heat.amax(dim=(1, 2), keepdim=True)
    scaled: npt.NDArray[np.float32] = torch.where(peaks > 0, heat / peaks.clamp(min=1e-38), 0).numpy()
    return scaled
