"""Any model of timm as a backbone: ``[backbone] name = "timm"``, ``model = "resnet50"``.

Wightman, "PyTorch Image Models", https://github.com/huggingface/pytorch-image-models.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import timm
import torch
from pydantic import Field, field_validator
from torch import nn

from sslkit import (
    Backbone,
    ConfigPath,
    PluginConfig,
    abbreviate,
    hookimpl,
    listed,
    load_timm_weights,
    load_weights,
    shown,
)
from sslkit.errors import ConfigError, did_you_mean

_RESERVED = frozenset(
    {
        "cache_dir",
        "checkpoint_path",
        "features_only",
        "in_chans",
        "model_name",
        "num_classes",
        "pretrained",
        "pretrained_cfg",
        "pretrained_cfg_overlay",
    }
)

_MOST = 4096
"""Of whole numbers among the options: no image has a longer side, and a million blocks would take hours to fail."""


class TimmConfig(PluginConfig):
    """Options of a backbone from timm.

    Attributes:
        model: timm's name of it, with or without a tag of published weights: "resnet50", "resnet50.a1_in1k".
        weights: a file of weights (``.safetensors`` or ``.pth``) with timm's names, for the ``imagenet`` arm; its
            classifier is dropped, everything else must match. None: timm's hub, or what is cached of it.
        options: more keyword arguments for ``timm.create_model``: ``{img_size = 64}`` or ``{dynamic_img_size = true}``
            for a vision transformer (the second keeps the position embedding as the published file has it).
    """

    model: str
    weights: ConfigPath | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _leave_reserved(cls, options: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_RESERVED & options.keys()):
            raise ValueError(
                f"{', '.join(taken)} cannot be given here: the toolkit decides on {', '.join(sorted(_RESERVED))}"
            )
        for name, value in options.items():
            if isinstance(value, int) and abs(value) > _MOST:
                raise ValueError(f"{shown(name)} is {value:,}; no network has such a size: give up to {_MOST:,}")
        return options


class Timm(Backbone[TimmConfig]):
    """A model of timm without its classifier; its mean and std are those of its published weights.

    Raises:
        sslkit.errors.ConfigError: if timm has no such model or tag, or the model does not take the options.

    Example:
        >>> backbone = Timm(TimmConfig(model="vit_tiny_patch16_224", options={"img_size": 64}))
        >>> backbone.supports(64) is None
        True
    """

    name = "timm"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = TimmConfig

    def __init__(self, config: TimmConfig) -> None:
        super().__init__(config)
        if not timm.is_model(config.model):
            raise ConfigError(
                f"backbone.model: timm {timm.__version__} has no model {shown(config.model)}"
                f"{did_you_mean(config.model, timm.list_models()) or '.'} See timm.list_models()."
            )
        published = self._published_config()
        self.mean, self.std = published.mean, published.std
        self._outline()

    def build(self, *, pretrained: bool = False) -> nn.Module:
        """Return a new network without its classifier.

        Args:
            pretrained: load the file of the configuration's ``weights``, or what timm publishes.

        Raises:
            sslkit.errors.WeightsError: if the weights cannot be had or do not fit.
        """
        network = timm.create_model(self.config.model, num_classes=0, **self.config.options)
        if pretrained and self.config.weights is not None:
            load_weights(network, self.config.weights, ignore=_classifiers(network))
        elif pretrained:
            load_timm_weights(network, self.config.model, ignore=_classifiers(network), **self.config.options)
        return network

    def supports(self, image_size: int) -> str | None:
        """Return why images of this side cannot be used, or None if they can; found by a trial without any data."""
        network = self._outline().eval()
        width = network.head_hidden_size
        try:
            with torch.no_grad():
                features = network.forward_features(torch.empty(1, 3, image_size, image_size, device="meta"))
                h = network.forward_head(features, pre_logits=True)
        except Exception as error:  # a model refuses a size by whatever its layers raise: RuntimeError, AssertionError
            hint = (
                f"; give options = {{img_size = {image_size}}}, or where views have several sizes and the model can, "
                "{dynamic_img_size = true}"
                if network.pretrained_cfg["fixed_input_size"]
                else ""
            )
            return f"{self.config.model} cannot take images of {image_size} px: {abbreviate(str(error), 300)}{hint}"
        if h.shape != (1, width):
            return f"{self.config.model} gives representations {tuple(h.shape[1:])}, not ({width},); see its options"
        return None

    def _published_config(self) -> Any:
        try:
            return timm.get_pretrained_cfg(self.config.model)
        except RuntimeError as error:
            architecture, _, tag = self.config.model.partition(".")
            tagged = timm.list_pretrained(f"{architecture}.*")
            raise ConfigError(
                f"backbone.model: timm has no weights {shown(tag)} of {architecture!r}"
                f"{did_you_mean(self.config.model, tagged) or '.'} Accepted: {listed([architecture, *tagged])}."
            ) from error

    def _outline(self) -> Any:
        """Return the network without memory for its weights: its shapes alone."""
        try:
            with torch.device("meta"):
                return timm.create_model(self.config.model, num_classes=0, **self.config.options)
        except Exception as error:  # whatever the layers of some model raise for an argument that they cannot use
            raise ConfigError(
                f"backbone.options: timm cannot build {self.config.model!r} with {shown(self.config.options)}: "
                f"{type(error).__name__}: {abbreviate(str(error), 300)}"
            ) from error


def _classifiers(network: Any) -> tuple[str, ...]:
    names = network.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


@hookimpl
def sslkit_backbones() -> Iterable[type[Backbone[Any]]]:
    """Announce the models of timm."""
    return (Timm,)
