"""What a pretraining leaves: the backbone's weights, and beside them what a network of that kind is built with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from sslkit.experiment.recipe import Recipe
from sslkit.files import write_atomically, write_json
from sslkit.interfaces import PretextTask


def save_backbone(
    folder: Path,
    task: PretextTask[Any],
    recipe: Recipe,
    weights: Mapping[str, torch.Tensor] | None,
    about: Mapping[str, Any],
) -> None:
    """Write ``backbone.safetensors`` and ``config.json``.

    Args:
        folder: of the pretraining.
        task: that has trained the backbone.
        recipe: what all jobs share.
        weights: those to keep; None: the encoder's present ones.
        about: what the file says of the pretraining: job, pretext task, fold and epoch.
    """
    encoder: nn.Module = task.encoder
    kept = {name: value.detach().cpu().contiguous() for name, value in (weights or encoder.state_dict()).items()}
    write_atomically(folder / "backbone.safetensors", lambda file: file.write(save(kept)))
    published = getattr(encoder, "pretrained_cfg", None) or {}
    size = recipe.preprocessing.size
    config = {
        "architecture": published.get("architecture", recipe.backbone.info.name),
        "num_classes": 0,
        "num_features": encoder.head_hidden_size,
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "mean": list(task.context.mean),
            "std": list(task.context.std),
            "num_classes": 0,
        },
        "sslkit": {**about, "preprocessing": {"size": size, "crop": recipe.preprocessing.crop}},
    }
    write_json(folder / "config.json", config)
