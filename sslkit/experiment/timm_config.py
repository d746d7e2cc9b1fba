"""What timm itself reads of an exported directory, and whether it then has the very network that was exported."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from sslkit.engine.networks import evaluation_mode, representation
from sslkit.printable import abbreviate

_CLOSE = 1e-6
"""How far apart two representations of one image may lie, relative to the largest value where that is above 1."""
_KEPT = ("interpolation", "pool_size", "first_conv", "classifier", "fixed_input_size")
_CROP_MODES = {"fundus": "center", "center": "center", "none": "squash"}


def timm_keys(
    network: nn.Module,
    size: int,
    crop: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    arguments: Mapping[str, Any] | None,
    name: str,
) -> dict[str, Any]:
    """Return timm's own keys of config.json.

    Args:
        network: what is exported.
        size: side of the images, in pixels.
        crop: what is kept of an image.
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.
        arguments: beside the architecture, what timm has to build the network with; None: it is no model of timm.
        name: what an architecture is called that timm does not have.
    """
    published: dict[str, Any] = dict(getattr(network, "pretrained_cfg", None) or {})
    is_free = arguments is not None and (arguments.get("dynamic_img_size") or arguments.get("strict_img_size") is False)
    pretrained_cfg = {
        **{key: published[key] for key in _KEPT if published.get(key) is not None},
        "input_size": [3, size, size],
        **({"fixed_input_size": False} if is_free else {}),
        "crop_pct": 1.0,
        "crop_mode": _CROP_MODES[crop],
        "mean": list(mean),
        "std": list(std),
        "num_classes": 0,
    }
    return {
        "architecture": name if arguments is None else published["architecture"],
        "num_classes": 0,
        "num_features": getattr(network, "num_features", network.head_hidden_size),
        **({} if arguments is None else {"model_args": {"num_classes": 0, **arguments}}),
        "pretrained_cfg": pretrained_cfg,
    }


def timm_arguments(network: nn.Module, options: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return what timm builds a network of this kind with beside its name, or why timm cannot.

    Args:
        network: a backbone.
        options: what the backbone's configuration says of it; timm before 1.0.27 does not itself remember.
    """
    published = getattr(network, "pretrained_cfg", None) or {}
    architecture = published.get("architecture") if isinstance(published, Mapping) else None
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        return f"{type(network).__name__} is no model of timm"
    known = getattr(network, "_model_args", None)
    arguments = dict(options if known is None else known)
    arguments.pop("num_classes", None)
    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError) as error:
        return f"what it was built with cannot be written down: {error}"
    return arguments


def why_not_for_timm(folder: Path, network: nn.Module, size: int) -> str | None:
    """Return why plain timm does not get a network from an exported directory, or None if it does; found by a trial.

    Args:
        folder: with config.json and model.safetensors.
        network: what timm's must agree with, on an image of noise.
        size: side of the image, in pixels.
    """
    try:
        with torch.random.fork_rng(devices=[]), _silent():
            theirs = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except Exception as error:  # whatever timm raises where names, shapes or arguments do not fit, or it is too old
        return f"timm {timm.__version__} says: {abbreviate(str(error), 300)}"
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    with evaluation_mode(network, theirs):
        ours = representation(network, image.to(device)).cpu()
        given = representation(theirs, image)
    if ours.shape != given.shape:
        return f"timm's network of that name has representations {tuple(given.shape[1:])}, not {tuple(ours.shape[1:])}"
    difference = float((ours - given).abs().max())
    if not difference <= _CLOSE * max(1.0, float(ours.abs().max())):
        return f"timm's network of that name computes something else (by up to {difference:.2g})"
    return None


@contextmanager
def _silent() -> Iterator[None]:
    """Keep timm from saying on standard error what is raised or returned anyway."""
    logger = logging.getLogger("timm")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
