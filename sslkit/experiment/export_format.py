"""What ``config.json`` of an exported directory says beside timm's own keys."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sslkit.config import PluginConfig
from sslkit.config.schema import MAX_PIXELS

FORMAT = 1
"""Raised whenever an older sslkit could not read what is written."""

CONFIG, BACKBONE, HEAD, ONNX, CARD = "config.json", "model.safetensors", "head.safetensors", "model.onnx", "README.md"
"""The files of an exported directory."""

Channels = tuple[float, float, float]


class ExportedPlugin(PluginConfig):
    """A plugin that has to be installed where the weights are loaded.

    Attributes:
        name: what the configuration calls it.
        options: its own options.
        distribution: what brings it.
        version: of the distribution, when it was exported.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    distribution: str
    version: str


class ExportedPreprocessing(PluginConfig):
    """What is done to an image before the network sees it.

    Attributes:
        size: side of the square, in pixels.
        crop: what is kept of the image.
        max_pixels: of an image; larger ones are refused.
    """

    size: int = Field(ge=1, le=4096)
    crop: Literal["fundus", "center", "none"]
    max_pixels: int = Field(MAX_PIXELS, ge=1)


class ExportTable(PluginConfig):
    """The table ``sslkit`` of ``config.json``.

    Attributes:
        format: the version of this table.
        weights: those of the pretext task, or those that were then trained on labels.
        run: the name of the run.
        pretext: the pretext task.
        fold: whose test images the weights have not seen; None: pretraining saw all images.
        arm: of the finetuned weights.
        epoch: of the pretraining, as it was kept.
        dataset: the plugin that reads files which are no photographs; None: the run had photographs.
        backbone: the plugin that builds the network.
        head: the plugin that decodes it; None: there is no head.
        class_names: of the head, in order of their grades.
        threshold: the summed probability from which an image is called positive ("referable"); None: there is none.
        preprocessing: what is done to an image first.
        mean: of each channel, in 0..1, which is taken off.
        std: of each channel, in 0..1, by which is divided.
        not_for_timm: why plain timm cannot load the weights; None: it can.
    """

    format: int
    weights: Literal["pretrained", "finetuned"]
    run: str
    pretext: str
    fold: int | None = None
    arm: str | None = None
    epoch: int | None = None
    dataset: ExportedPlugin | None = None
    backbone: ExportedPlugin
    head: ExportedPlugin | None = None
    class_names: tuple[str, ...] = ()
    threshold: float | None = None
    preprocessing: ExportedPreprocessing
    mean: Channels
    std: Channels
    not_for_timm: str | None = None
