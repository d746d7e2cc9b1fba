"""Encoders and what is done to them outside the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sslkit.blame import Provenance, blame, refuse
from sslkit.data.normalization import normalize
from sslkit.data.sharded_images import Images
from sslkit.engine.precision import Compute
from sslkit.errors import TrainingDivergedError
from sslkit.interfaces import Backbone

_EVALUATION_BATCH = 64
_ENCODER = ("forward_features", "forward_head", "head_hidden_size")


def representation(encoder: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the pooled representation h of images.

    Args:
        encoder: a network as a [Backbone][sslkit.Backbone] builds it.
        images: normalised, float (N, 3, H, W); see [normalize][sslkit.normalize].

    Returns:
        (N, D), where D is the network's ``head_hidden_size``.

    Example:
        >>> import timm
        >>> representation(timm.create_model("resnet10t", num_classes=0), torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 512])
    """
    features: torch.Tensor = encoder.forward_head(encoder.forward_features(images), pre_logits=True)  # type: ignore[operator]
    return features


class Encoder(nn.Module):
    """A backbone behind its normalisation: uint8 images in, float32 representation out.

    Args:
        backbone: the network.
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.
        compute: device and precision.
        provenance: where the network comes from; None: not to be named in its errors.
    """

    def __init__(
        self,
        backbone: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        compute: Compute,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.mean, self.std, self.compute = mean, std, compute
        self.provenance = provenance

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map uint8 images (N, 3, H, W) on the device to float32 (N, D)."""
        if self.provenance is None:
            return self._represent(images)
        with blame(self.provenance, "the forward pass of its network"):
            features = self._represent(images)
        wanted = (len(images), self.backbone.head_hidden_size)
        if features.shape != wanted:
            given = f"representations {tuple(features.shape)}"
            raise refuse(
                self.provenance, "the forward pass of the network", given, f"(N, head_hidden_size), here {wanted}"
            )
        return features

    def _represent(self, images: torch.Tensor) -> torch.Tensor:
        with self.compute.autocast():
            return representation(self.backbone, normalize(images, self.mean, self.std)).float()


def build_encoder(backbone: Backbone[Any], compute: Compute, *, seed: int = 0, pretrained: bool = False) -> Encoder:
    """Return an encoder with new weights, on the device.

    Args:
        backbone: the plugin that builds the network.
        compute: device and precision.
        seed: of the initial weights; does not matter where others are loaded.
        pretrained: begin with published weights.
    """
    network = call_with_seed(seed, partial(build_network, backbone, pretrained=pretrained))
    return Encoder(to_compute(network, compute), backbone.mean, backbone.std, compute, backbone.provenance)


def build_network(backbone: Backbone[Any], *, pretrained: bool = False) -> nn.Module:
    """Return a new network of a backbone, initialised from torch's global generator.

    Raises:
        PluginError: if the backbone fails, or what it builds is no encoder.
    """
    with blame(backbone.provenance, "build()"):
        network = backbone.build(pretrained=pretrained)
    lacking = [name for name in _ENCODER if not hasattr(network, name)]
    if not isinstance(network, nn.Module) or lacking:
        given = f"{type(network).__name__}{f' without {lacking[0]}' if lacking else ''}"
        raise refuse(backbone.provenance, "build()", given, f"a torch.nn.Module with {', '.join(_ENCODER)}")
    return network


def load_batch(images: Images, rows: npt.NDArray[np.int64]) -> torch.Tensor:
    """Return rows of the cache, uint8 (M, H, W, 3), as a batch (N, 3, H, W) in channels-last layout."""
    return torch.from_numpy(images[rows]).permute(0, 3, 1, 2)


def batches_of(rows: npt.NDArray[np.int64], size: int = _EVALUATION_BATCH) -> Iterator[npt.NDArray[np.int64]]:
    """Yield consecutive stretches of rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@contextmanager
def evaluation_mode(*modules: nn.Module) -> Iterator[None]:
    """Put modules into eval mode, without gradients, and back as they were."""
    before = [[(part, part.training) for part in module.modules()] for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for part, training in (pair for parts in before for pair in parts):
            part.training = training


def encode_rows(encoder: Encoder, images: Images, rows: npt.NDArray[np.int64]) -> torch.Tensor:
    """Return the representations of rows of the cache, float32 (N, D) on the device, in eval mode.

    Raises:
        TrainingDivergedError: if one of them is not finite.
    """
    with evaluation_mode(encoder):
        parts = [encoder(encoder.compute.send(load_batch(images, part))) for part in batches_of(rows)]
    features = torch.cat(parts)
    check_outputs(features, "representation")
    return features


def check_outputs(outputs: torch.Tensor, name: str) -> None:
    """Refuse what a network puts out, (N, ...), if it is not finite.

    Raises:
        TrainingDivergedError: with the number of images that it is so for, and what to try.
    """
    bad = (~outputs.isfinite()).flatten(1).any(dim=1)
    if bad.any():
        raise TrainingDivergedError(
            f"the {name} of {int(bad.sum())} of {len(bad)} images is not finite; try a lower learning rate "
            "where its weights were trained, a longer warm-up, or compute.precision='fp32'"
        )


def reestimate_batch_statistics(encoder: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Replace the running statistics of BatchNorm by the plain average over some batches.

    Initial weights bring statistics of other images, or of none; no parameter changes. Networks without BatchNorm
    are left alone, and so are all where there is no batch.
    """
    layers = [layer for layer in encoder.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    if not layers or not batches:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # None: a cumulative average
    modes = [(part, part.training) for part in encoder.modules()]
    encoder.eval()
    for layer in layers:
        layer.train()
    with torch.no_grad():
        for batch in batches:
            encoder(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for part, training in modes:
        part.training = training


def to_compute(module: nn.Module, compute: Compute) -> nn.Module:
    """Move a module to the device, its convolutions in channels-last layout."""
    return module.to(compute.device).to(memory_format=torch.channels_last)


def call_with_seed(seed: int, function: Callable[[], Any]) -> Any:
    """Call a function whose draws come from torch's global generator, and leave that generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return function()
