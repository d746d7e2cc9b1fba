"""A pretext task that collapses, importable by worker processes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F

from sslkit import PluginConfig, PretextTask, StepOutput, Views, hookimpl, normalize
from sslkit.registry import Registry, build_registry


class Agreement(PretextTask[PluginConfig]):
    """Rewards that an image and its mirror image are represented alike, and nothing else: a constant solves it."""

    name = "agreement"
    Config = PluginConfig

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        return {"images": images, "mirrored": images.flip(3)}

    def forward(self, views: Views) -> StepOutput:
        encoder: Any = self.encoder
        first, second = (
            encoder.forward_head(encoder.forward_features(normalize(view, self.context.mean, self.context.std)))
            for view in views.values()
        )
        return StepOutput(F.mse_loss(first.float(), second.float()))


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    return [Agreement]


def registry_with_agreement() -> Registry:
    """Return the installed plugins and this one."""
    plugin = SimpleNamespace(sslkit_pretext_tasks=sslkit_pretext_tasks)
    stranger = SimpleNamespace(
        name="agreement",
        value="agreement",
        dist=SimpleNamespace(name="sslkit-agreement", version="1.0"),
        load=lambda: plugin,
    )
    return build_registry([*metadata.entry_points(group="sslkit"), stranger])
