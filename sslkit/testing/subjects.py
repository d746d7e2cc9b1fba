"""What a check is given: a plugin class, its options, and the ways to make and use one."""

from __future__ import annotations

import json
import math
import random
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from sslkit.config.base import PluginConfig
from sslkit.config.messages import describe_validation_error
from sslkit.config.plain import to_plain
from sslkit.data.cropping import circular_mask
from sslkit.data.normalization import normalize
from sslkit.engine.networks import build_network, call_with_seed, evaluation_mode, representation
from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.tasks import make_views, take_step
from sslkit.errors import ConfigError
from sslkit.experiment.environment import process_context
from sslkit.experiment.pretraining import VIEW_CHUNK
from sslkit.interfaces import Backbone, Dataset, DownstreamHead, Executor, Plugin, PretextTask
from sslkit.registry import Kind
from sslkit.testing.jobs import dying_jobs, long_jobs, ordinary_jobs
from sslkit.testing.network import TinyNetwork
from sslkit.testing.outcome import expect
from sslkit.testing.samples import sample_images
from sslkit.testing.trials import Trial, attempt, attempt_elsewhere
from sslkit.types import Prediction, Record, StepOutput, TaskContext, Views

Options = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
"""Options of a plugin, or what writes the files that they name into a folder and returns them."""


@contextmanager
def every_generator_seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python, and leave them as they were.

    A run seeds torch's alone. Here a task that draws from another one is to be caught by the check of that, and by no
    other.
    """
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


class Subject:
    """A plugin class and the options that it is tried with.

    Args:
        cls: the plugin class.
        options: its options; see [Options][sslkit.testing.Options]. By default, none: every option has a default then.
    """

    kind: ClassVar[Kind]

    def __init__(self, cls: type[Plugin[Any]], options: Options | None = None) -> None:
        self.cls, self._given = cls, {} if options is None else options

    @cached_property
    def folder(self) -> Path:
        """A folder for the files of a try, which goes away with the subject."""
        folder = Path(tempfile.mkdtemp(prefix="sslkit-check-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options, as plain values."""
        given: dict[str, Any] = to_plain(self._given(self.folder) if callable(self._given) else self._given)
        return given

    @cached_property
    def config(self) -> PluginConfig:
        """The validated options.

        Raises:
            ConfigError: if they are wrong, or one is missing.
        """
        return self.validate(self.options)

    @property
    def root(self) -> Path:
        """The folder that relative paths among the options are relative to."""
        return self.folder if callable(self._given) else Path.cwd()

    def validate(self, options: Mapping[str, Any]) -> PluginConfig:
        """Return options as the plugin gets them.

        Raises:
            ConfigError: if they are wrong, or one is missing.
        """
        try:
            return self.cls.Config.model_validate_json(json.dumps(options), context={"root": self.root})
        except ValidationError as error:
            raise ConfigError(describe_validation_error(error, self.cls.Config, prefix=self.kind)) from None

    def __getstate__(self) -> dict[str, Any]:
        # What has been made of it stays here: another process makes its own.
        return {"cls": self.cls, "_given": self.options, "config": self.config}


@dataclass
class Training:
    """A pretext task that was trained on a few images.

    Attributes:
        task: the task, as the training left it.
        images: those images, uint8 (N, 3, H, W).
        losses: one an update.
    """

    task: PretextTask[Any]
    images: torch.Tensor
    losses: list[float]


class PretextTaskSubject(Subject):
    """A pretext task on a [tiny network][sslkit.testing.TinyNetwork] and computed images of 64 pixels."""

    kind = "pretext-task"
    cls: type[PretextTask[Any]]
    image_size = 64

    @cached_property
    def context(self) -> TaskContext:
        """What the task is told: images in a circular mask, as ``crop = "fundus"`` makes them."""
        mask = torch.from_numpy(circular_mask(self.image_size))
        return TaskContext(self.image_size, Backbone.mean, Backbone.std, mask)

    @property
    def batch_size(self) -> int:
        """Images of a batch: two chunks of views, the second one short."""
        return max(VIEW_CHUNK + 4, self.cls.min_batch_size)

    def images(self, count: int | None = None, seed: int = 0) -> torch.Tensor:
        """Return computed images, black outside the mask, uint8 (N, 3, H, W)."""
        images = sample_images(count or self.batch_size, self.image_size, seed)
        mask = self.context.mask
        return images if mask is None else images * mask

    def build(self, context: TaskContext | None = None) -> PretextTask[Any]:
        """Return a task as a run makes it: its first weights from the global generator, its prior from images."""
        task = self.cls(self.config, TinyNetwork(), context or self.context)
        if type(task).fit is not PretextTask.fit:
            task.fit(self.images(32, seed=1))
        return task.train()

    def make(self, seed: int = 0, context: TaskContext | None = None) -> PretextTask[Any]:
        """Return a task made from a seed."""
        with every_generator_seeded(seed):
            return self.build(context)

    def views(self, task: PretextTask[Any], images: torch.Tensor, seed: int = 0) -> Views:
        """Return the views of a batch, made chunk by chunk as a run makes them."""
        chunks = [
            make_views(task, images[start : start + VIEW_CHUNK], torch.Generator().manual_seed(seed + start))
            for start in range(0, len(images), VIEW_CHUNK)
        ]
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}

    def step(self, task: PretextTask[Any], views: Views, seed: int = 0) -> StepOutput:
        """Return what a forward pass yields, with the global generators seeded."""
        with every_generator_seeded(seed):
            return take_step(task, views)

    def train(self, task: PretextTask[Any], images: torch.Tensor, num_updates: int, first: int = 0) -> list[float]:
        """Train a task as a run does, each update on new views of the same images; return the losses."""
        optimizer = make_optimizer([task], learning_rate=3e-3, weight_decay=0.0)
        losses = []
        for update in range(first, first + num_updates):
            progress = update / (first + num_updates)
            task.before_update(progress)
            output = self.step(task, self.views(task, images, seed=1000 * update), seed=update)
            optimizer.zero_grad()
            output.loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            task.after_update(output, progress)
            losses.append(output.loss.item())
        return losses

    @cached_property
    def trained(self) -> Training:
        """A task that was trained for a hundred updates: the tiny problem."""
        task, images = self.make(), self.images()
        return Training(task, images, self.train(task, images, num_updates=100))


class BackboneSubject(Subject):
    """A backbone plugin, the networks that it builds, and small images for them."""

    kind = "backbone"
    cls: type[Backbone[Any]]
    sizes = (8, 16, 24, 32, 33, 48, 64, 75, 96, 128, 160, 192, 224, 256, 384, 448, 512)
    """Sides of images, in pixels, of which a backbone is to take one at least."""

    @cached_property
    def backbone(self) -> Backbone[Any]:
        """The plugin."""
        return self.cls(self.config)

    def supported(self, sizes: Iterable[int]) -> Iterator[int]:
        """Yield those of some sizes that the backbone says it takes."""
        return (size for size in sizes if self.backbone.supports(size) is None)

    @cached_property
    def image_size(self) -> int:
        """64 pixels, or the nearest size that the backbone says it takes; 224 if it takes none."""
        return next(self.supported(sorted(self.sizes, key=lambda size: abs(size - 64))), 224)

    def build(self, seed: int = 0) -> nn.Module:
        """Return a network as a run builds it: its weights from a seed."""
        network: nn.Module = call_with_seed(seed, lambda: build_network(self.backbone))
        return network

    def images(self, count: int = 4, size: int | None = None) -> torch.Tensor:
        """Return normalised images, float32 (N, 3, H, W), in the usual layout."""
        return normalize(sample_images(count, size or self.image_size), Backbone.mean, Backbone.std).contiguous()

    def represent(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return the representations of a copy of the images, (N, D), with the global generator seeded."""
        h: torch.Tensor = call_with_seed(0, lambda: representation(network, x.clone()))
        return h

    def encode(self, network: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return the representations, (N, D), as evaluation computes them: in eval mode, without gradients."""
        with evaluation_mode(network):
            return self.represent(network, x)


class HeadSubject(Subject):
    """A downstream head on representations of 16 numbers."""

    kind = "head"
    cls: type[DownstreamHead[Any]]
    num_features = 16

    def make(self, seed: int = 0, num_features: int | None = None) -> DownstreamHead[Any]:
        """Return a head as a run makes it: its weights from a seed."""
        width = self.num_features if num_features is None else num_features
        head: DownstreamHead[Any] = call_with_seed(seed, lambda: self.cls(self.config, width))
        return head

    @cached_property
    def num_classes(self) -> int:
        """K, the number of the head's classes."""
        return self.make().num_classes

    def targets(self, rows_a_class: int, seed: int = 0) -> torch.Tensor:
        """Return as many targets of each class, in any order, int64 (N,)."""
        rows = torch.arange(rows_a_class * self.num_classes)
        return rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))] % self.num_classes

    def noise(self, count: int, seed: int = 0) -> torch.Tensor:
        """Return representations that say nothing, float32 (N, 16)."""
        return torch.randn(count, self.num_features, generator=torch.Generator().manual_seed(seed))

    def clusters(self, targets: torch.Tensor, seed: int = 0) -> torch.Tensor:
        """Return representations that lie along a line in the order of their classes, float32 (N, 16)."""
        place = targets / (self.num_classes - 1) - 0.5
        along = torch.ones(self.num_features) / math.sqrt(self.num_features)
        return 0.2 * self.noise(len(targets), seed) + 4 * place[:, None] * along

    def logits(self, head: DownstreamHead[Any], features: torch.Tensor) -> torch.Tensor:
        """Return float32 logits, (N, L), as evaluation computes them: in eval mode, without gradients."""
        with evaluation_mode(head):
            logits: torch.Tensor = head(features.clone())
        return logits.float().clone()  # no longer a tensor of inference mode: a run reads logits from a file, too

    def random_logits(self, head: DownstreamHead[Any], count: int, scale: float) -> torch.Tensor:
        """Return logits of that many rows, from a normal distribution, float32 (N, L)."""
        length = self.logits(head, self.noise(1)).shape[1]
        return scale * torch.randn(count, length, generator=torch.Generator().manual_seed(7))

    def loss(self, head: DownstreamHead[Any], features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of representations against their classes, with the global generator seeded."""
        loss: torch.Tensor = call_with_seed(0, lambda: head.loss(head(features.clone()), targets.clone()))
        return loss

    def fit(self, head: DownstreamHead[Any], logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Fit a head to copies of logits and targets, with the global generator seeded."""
        call_with_seed(0, lambda: head.fit(logits.clone(), targets.clone()))

    def predict(self, head: DownstreamHead[Any], logits: torch.Tensor) -> Prediction:
        """Return what a copy of the logits is decoded into, with the global generator seeded."""
        prediction: Prediction = call_with_seed(0, lambda: head.predict(logits.clone()))
        return prediction

    def train(
        self, head: DownstreamHead[Any], features: torch.Tensor, targets: torch.Tensor, num_updates: int
    ) -> list[float]:
        """Train a head on representations, all of them in each update; return the losses."""
        optimizer = make_optimizer([head], learning_rate=3e-2, weight_decay=0.0)
        losses = []
        for _ in range(num_updates):
            loss = self.loss(head, features, targets)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        return losses

    @cached_property
    def trained(self) -> tuple[DownstreamHead[Any], list[float]]:
        """A head after two hundred updates on separable representations, and their losses."""
        head, targets = self.make(), self.targets(20)
        return head, self.train(head, self.clusters(targets), targets, num_updates=200)


class DatasetSubject(Subject):
    """A data set, of which a few images are looked at."""

    kind = "dataset"
    cls: type[Dataset[Any]]
    num_images = 6

    @property
    def paths(self) -> dict[str, Path]:
        """The paths among the options."""
        values = {name: getattr(self.config, name, None) for name in self.options}
        return {name: value for name, value in values.items() if isinstance(value, Path)}

    def make(self) -> Dataset[Any]:
        """Return the data set as a run makes it."""
        return self.cls(self.config)

    def listed(self) -> tuple[Dataset[Any], list[Record]]:
        """Return a data set, and a few of its records from its beginning to its end."""
        dataset = self.make()
        return dataset, self.few(dataset.records())

    def few(self, records: Sequence[Record]) -> list[Record]:
        """Return a few of the records, evenly drawn."""
        expect(len(records) > 0, "there is no record to look at")
        count = min(self.num_images, len(records))
        return [records[place * len(records) // count] for place in range(count)]

    def afresh(self) -> DatasetSubject:
        """Return the same once more, with files of its own where the options write some."""
        return type(self)(self.cls, self._given)


class ExecutorSubject(Subject):
    """An executor, and what comes of a few small jobs."""

    kind = "executor"
    cls: type[Executor[Any]]

    def make(self) -> Executor[Any]:
        """Return the executor as a run makes it, with a server running from which it may fork processes."""
        process_context([self.cls.__module__])
        return self.cls(self.config)

    @cached_property
    def ordinary(self) -> Trial:
        """A run of jobs of which one fails."""
        log = self.folder / "ordinary.log"
        return attempt(self.make(), ordinary_jobs(log), Trial(log))

    @cached_property
    def stopped(self) -> Trial:
        """A run that is stopped by what its observer raises."""
        log = self.folder / "stopped.log"
        return attempt(self.make(), long_jobs(log), Trial(log, stop_at=4))

    @cached_property
    def deadly(self) -> Trial:
        """A run of jobs of which some are killed."""
        log = self.folder / "deadly.log"
        return attempt_elsewhere(self.cls, self.config, dying_jobs(log), Trial(log))


_SUBJECTS: dict[type[Plugin[Any]], type[Subject]] = {
    PretextTask: PretextTaskSubject,
    Backbone: BackboneSubject,
    DownstreamHead: HeadSubject,
    Dataset: DatasetSubject,
    Executor: ExecutorSubject,
}


def make_subject(cls: type[Plugin[Any]], options: Options | None = None) -> Subject:
    """Return what the checks of a plugin class are given.

    Raises:
        TypeError: if the class is of no kind of plugin.
    """
    for base, subject in _SUBJECTS.items():
        if isinstance(cls, type) and issubclass(cls, base):
            return subject(cls, options)
    kinds = ", ".join(f"sslkit.{base.__name__}" for base in _SUBJECTS)
    raise TypeError(f"{cls!r} is no plugin class; a plugin class inherits from one of {kinds}")
