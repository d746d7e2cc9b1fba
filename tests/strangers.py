"""Plugins that fail in every way in which a stranger's can, importable by worker processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import field_validator
from torch import nn
from torch.nn import functional as F

from sslkit import (
    Backbone,
    Dataset,
    DownstreamHead,
    Executor,
    Job,
    JobObserver,
    PluginConfig,
    Prediction,
    PretextTask,
    Record,
    StepOutput,
    TaskContext,
    Views,
    hookimpl,
)


class StrangeConfig(PluginConfig):
    """``how``: in which call the plugin fails, or what nonsense it returns."""

    how: str = ""

    @field_validator("how")
    @classmethod
    def _fail(cls, value: str) -> str:
        if value == "validation":
            raise ZeroDivisionError("in the validation")
        return value


def fail(config: StrangeConfig, call: str) -> None:
    if config.how == call:
        raise ZeroDivisionError(f"a stranger's mistake in {call}")
    if config.how == f"exit in {call}":
        sys.exit(f"no licence for {call}")
    if config.how == f"want of memory in {call}":
        raise MemoryError


class StrangeTask(PretextTask[StrangeConfig]):
    """Tells light from dark."""

    name = "strange"
    Config: ClassVar[type[PluginConfig]] = StrangeConfig

    def __init__(self, config: StrangeConfig, backbone: nn.Module, context: TaskContext) -> None:
        super().__init__(config, backbone, context)
        fail(config, "the constructor")
        self.classifier = nn.Linear(backbone.head_hidden_size, 2)

    @classmethod
    def view_sizes(cls, config: Any, context: TaskContext) -> Any:
        fail(config, "view_sizes")
        return ["large"] if config.how == "sizes that are texts" else (context.image_size,)

    def fit(self, images: torch.Tensor) -> None:
        fail(self.config, "fit")

    def before_update(self, progress: float) -> None:
        fail(self.config, "before_update")

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        fail(self.config, "make_views")
        views: dict[Any, Any] = {"images": images, "labels": torch.zeros(len(images), dtype=torch.int64)}
        match self.config.how:
            case "views in a list":
                return list(views.values())  # type: ignore[return-value]
            case "no views":
                return {}
            case "views too few":
                views["labels"] = views["labels"][1:]
            case "views that are lists":
                views["labels"] = [0] * len(images)
            case "views without rows":
                views["labels"] = torch.zeros(0)
            case "views of other names":
                views[f"views of {len(images)}"] = views["labels"]
        return views

    def forward(self, views: Views) -> StepOutput:
        fail(self.config, "forward")
        if self.config.how == "a tuple":
            return (torch.zeros(()), {})  # type: ignore[return-value]
        h = self.encoder.forward_head(self.encoder.forward_features(views["images"].float()), pre_logits=True)
        loss = F.cross_entropy(self.classifier(h), views["labels"])
        losses: dict[str, Any] = {
            "a loss for each view": loss.expand(2),
            "a loss without a gradient": loss.detach(),
            "a loss that is a number": 0.5,
            "a loss of whole numbers": torch.tensor(3),
        }
        metrics = {"accuracy": [1.0]} if self.config.how == "metrics in lists" else {}
        return StepOutput(losses.get(self.config.how, loss), metrics)  # type: ignore[arg-type]

    def after_update(self, output: StepOutput, progress: float) -> None:
        fail(self.config, "after_update")


class Network(nn.Module):
    """The mean colour."""

    head_hidden_size = 3

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.scale = how, nn.Parameter(torch.ones(3))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        if self.how == "the network":
            raise ZeroDivisionError("a stranger's mistake in the network")
        return images * self.scale[:, None, None]

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        h = features.mean((2, 3))
        return torch.cat([h, h], dim=1) if self.how == "too wide" else h


class StrangeBackbone(Backbone[StrangeConfig]):
    """Builds a tiny network."""

    name = "strange"
    Config: ClassVar[type[PluginConfig]] = StrangeConfig

    def build(self, *, pretrained: bool = False) -> nn.Module:
        fail(self.config, "build")
        if self.config.how == "no network":
            return "densenet"  # type: ignore[return-value]
        return nn.Linear(3, 3) if self.config.how == "no encoder" else Network(self.config.how)

    def supports(self, image_size: int) -> str | None:
        fail(self.config, "supports")
        return None


class StrangeHead(DownstreamHead[StrangeConfig]):
    """Five grades."""

    name = "strange"
    Config: ClassVar[type[PluginConfig]] = StrangeConfig
    class_names = ("a", "b", "c", "d", "e")
    cross_fitted = True

    def __init__(self, config: StrangeConfig, num_features: int) -> None:
        super().__init__(config, num_features)
        fail(config, "the constructor")
        self.classifier = nn.Linear(num_features, 5)
        if config.how == "one class":
            self.class_names = ("a",)
        if config.how == "classes in a text":
            self.class_names = "abcde"  # type: ignore[assignment]

    def grade(self, label: str | int) -> int:
        fail(self.config, "grade")
        grades: dict[str, Any] = {"a grade beyond": 7, "a grade in words": "mild"}
        grade: int = grades.get(self.config.how, int(label))
        return grade

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        fail(self.config, "forward")
        logits: torch.Tensor = self.classifier(features)
        return logits.flatten() if self.config.how == "logits in a row" else logits

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        fail(self.config, "loss")
        return F.cross_entropy(
            logits, targets, reduction="none" if self.config.how == "a loss for each image" else "mean"
        )

    def fit(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        fail(self.config, "fit")

    def predict(self, logits: torch.Tensor) -> Prediction:
        fail(self.config, "predict")
        classes, probabilities = logits.argmax(1), logits.softmax(1)
        match self.config.how:
            case "a tuple":
                return (classes, probabilities)  # type: ignore[return-value]
            case "classes beyond":
                classes = classes + 5
            case "classes that are floats":
                classes = classes.float()
            case "too few probabilities":
                probabilities = probabilities[:, :2]
        return Prediction(classes, probabilities)


class StrangeDataset(Dataset[StrangeConfig]):
    """Noise with grades."""

    name = "strange"
    Config: ClassVar[type[PluginConfig]] = StrangeConfig

    def __init__(self, config: StrangeConfig) -> None:
        super().__init__(config)
        fail(config, "the constructor")

    def records(self) -> Sequence[Record]:
        fail(self.config, "records")
        if self.config.how == "slow records":
            time.sleep(0.3)
        records: list[Any] = [Record(f"{number:03d}", label=number % 5) for number in range(40)]
        if self.config.how == "records that are names":
            records[7] = "007"
        if self.config.how == "records with numbers for ids":
            records[7] = Record(7)  # type: ignore[arg-type]
        return None if self.config.how == "no records" else records  # type: ignore[return-value]

    def unlisted(self, records: Sequence[Record]) -> Sequence[str]:
        fail(self.config, "unlisted")
        return ()

    def read(self, record: Record) -> Any:
        fail(self.config, "read")
        if self.config.how == "a text for an image":
            return "image"
        return np.random.default_rng(int(record.id)).integers(0, 256, (40, 40, 3), dtype=np.uint8)

    def fingerprint(self, record: Record) -> str:
        fail(self.config, "fingerprint")
        return f"{self.config.how} {record.id}"


class IdleExecutor(Executor[PluginConfig]):
    """Does nothing."""

    name = "idle"

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        for job in jobs[:1]:
            observer.failed(job, "no time")


class FailingExecutor(Executor[PluginConfig]):
    """Fails."""

    name = "failing"

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        raise ZeroDivisionError("a stranger's mistake in run")


@hookimpl
def sslkit_pretext_tasks() -> list[type[PretextTask[Any]]]:
    return [StrangeTask]


@hookimpl
def sslkit_backbones() -> list[type[Backbone[Any]]]:
    return [StrangeBackbone]


@hookimpl
def sslkit_heads() -> list[type[DownstreamHead[Any]]]:
    return [StrangeHead]


@hookimpl
def sslkit_datasets() -> list[type[Dataset[Any]]]:
    return [StrangeDataset]


@hookimpl
def sslkit_executors() -> list[type[Executor[Any]]]:
    return [IdleExecutor, FailingExecutor]


def announced(module: Any, name: str = "acme", package: str = "strangers") -> Any:
    """Return an entry point of the distribution acme 1.2."""
    return SimpleNamespace(
        name=name, value=package, dist=SimpleNamespace(name="acme", version="1.2"), load=lambda: module
    )


def observer(**hooks: Callable[..., Any]) -> Any:
    """Return an entry point whose module has these hooks."""
    return announced(SimpleNamespace(**{name: hookimpl(hook) for name, hook in hooks.items()}), name="observer")


def spoil(result: Mapping[str, Any]) -> None:
    """Do to what a hook is told of what it may not."""
    result.clear()  # type: ignore[attr-defined]
