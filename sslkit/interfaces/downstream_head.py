"""The contract of a downstream head: from a representation to graded classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from sslkit.config.base import PluginConfig
from sslkit.interfaces.plugin import API_VERSION, ConfigT, Plugin
from sslkit.types import Prediction


class DownstreamHead(nn.Module, Plugin[ConfigT], ABC):
    """Classifies representations; knows the names of its classes and its primary metric.

    Args:
        config: the head's own options.
        num_features: D, the width of the representation.

    Attributes:
        class_names: names of the K classes, in the order of their grades.
        primary_metric: the column of results.csv that reports lead with.
        positive_from: the lowest class that counts as positive where a binary question is asked of the head
            (2, "referable", for diabetic retinopathy); None where there is no such question.
        cross_fitted: whether ``fit`` is called, with scores of cells that tested an image, before results are drawn up.
    """

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[PluginConfig]] = PluginConfig
    tags: ClassVar[frozenset[str]] = frozenset({"bf16"})
    class_names: tuple[str, ...]
    primary_metric: ClassVar[str] = "qwk"
    positive_from: ClassVar[int | None] = None
    cross_fitted: bool = False

    def __init__(self, config: ConfigT, num_features: int) -> None:
        nn.Module.__init__(self)
        self.config = config
        self.num_features = num_features

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @abstractmethod
    def grade(self, label: str | int) -> int:
        """Return the class in 0..K-1 of a label as a data set writes it.

        Raises:
            ValueError: if the label is none of the head's classes; the message says which are.
        """

    @abstractmethod
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map representations, float (N, D), to logits, float (N, anything)."""

    @abstractmethod
    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the 0-d loss of float32 logits against int64 targets (N,) in 0..K-1."""

    def fit(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Fit cut points or a temperature to scores of images that the model was not trained on. Optional.

        What is fitted belongs in buffers, so that it is saved with the head.
        """

    @abstractmethod
    def predict(self, logits: torch.Tensor) -> Prediction:
        """Decode float32 logits on the CPU into classes and probabilities, by buffers alone, without parameters."""
