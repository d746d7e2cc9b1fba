"""What all jobs of a run have in common: plugins, images, budgets, compute."""

from __future__ import annotations

import hashlib
import json
import operator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sslkit.blame import blame
from sslkit.checksums import file_digest
from sslkit.config import PluginConfig
from sslkit.config.schema import FinetuningConfig, PretrainingConfig
from sslkit.data.cache import ImageCache
from sslkit.data.cropping import circular_mask
from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.precision import Compute
from sslkit.experiment.run_directory import RunDirectory
from sslkit.interfaces import Backbone, PretextTask
from sslkit.interfaces.plugin import PROVENANCE
from sslkit.registry import PluginInfo
from sslkit.types import TaskContext

RESULTS_VERSION = 3
"""Raised whenever the same inputs would give another result, so that older results are not mixed in."""

_VERSIONED = ("sslkit", "torch", "torchvision", "timm", "numpy")


@dataclass(frozen=True)
class Configured:
    """A plugin class with its options.

    Attributes:
        info: the class, and where it comes from.
        config: its options.
        parts: the pretext tasks that a pretext task is made of, where it is.
    """

    info: PluginInfo
    config: PluginConfig
    parts: tuple[Configured, ...] = ()

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self.info.name

    def with_parts(self) -> tuple[Configured, ...]:
        """Return the plugin and all that it is made of."""
        return (self, *(inner for part in self.parts for inner in part.with_parts()))

    def make(self, *arguments: Any) -> Any:
        """Construct the plugin: its configuration first, then the arguments of its kind.

        Raises:
            PluginError: if its constructor fails.
        """
        with blame(self.info.provenance, "its constructor"):
            made = self.info.cls(self.config, *arguments)
        vars(made)[PROVENANCE] = self.info.provenance
        return made

    def make_task(self, backbone: nn.Module, context: TaskContext) -> PretextTask[Any]:
        """Construct the pretext task, with its parts."""
        task: PretextTask[Any] = self.make(backbone, self._context(context))
        return task

    def view_sizes(self, context: TaskContext) -> tuple[int, ...]:
        """Return the sides of the pretext task's views.

        Raises:
            ValueError: if it can make no views of such images.
        """
        with blame(self.info.provenance, "view_sizes()", contract=(ValueError,)):
            return tuple(map(operator.index, self.info.cls.view_sizes(self.config, self._context(context))))

    def supports(self, backbone: nn.Module, context: TaskContext) -> str | None:
        """Return why the pretext task cannot train a network, or None if it can."""
        with blame(self.info.provenance, "supports()"):
            reason: str | None = self.info.cls.supports(self.config, backbone, self._context(context))
        return reason

    def _context(self, context: TaskContext) -> TaskContext:
        return replace(context, parts=self.parts)

    def resolved(self) -> dict[str, Any]:
        """Return its table of the configuration as plain values, with every default and absolute paths."""
        options = self.config.model_dump(mode="json", exclude_none=True, by_alias=True)
        if self.parts:
            parts = zip(options["parts"], self.parts, strict=True)
            options["parts"] = [{**own, **part.resolved()} for own, part in parts]
        return {"name": self.name, **options}

    def identity(self) -> dict[str, Any]:
        """Return what a result depends on: name, version, options, and the content of files among the options."""
        files = {
            name: file_digest(value)
            for name, value in vars(self.config).items()
            if isinstance(value, Path) and value.is_file()
        }
        with blame(self.info.provenance, "the writing of its options"):
            options = self.config.model_dump(mode="json", exclude=set(files))
        own = {"name": self.info.name, "version": self.info.version, "options": options, "files": files}
        return {**own, "parts": [part.identity() for part in self.parts]} if self.parts else own


@dataclass(frozen=True)
class Recipe:
    """Everything that a job needs beside its own coordinates; travels to workers by pickle.

    Attributes:
        directory: the run directory.
        seed: the run's seed.
        backbone: the backbone plugin.
        head: the head plugin.
        preprocessing: size and crop of the images.
        cache: the decoded images.
        grades: int64 (M,), -1 where unlabelled.
        ids: the images' ids.
        groups: the images' groups.
        pretraining: budget of a pretraining.
        finetuning: budget of a cell.
        compute: device and precision.
        checkpoint_seconds: between checkpoints of a pretraining.
    """

    directory: RunDirectory
    seed: int
    backbone: Configured
    head: Configured
    preprocessing: Preprocessing
    cache: ImageCache
    grades: npt.NDArray[np.int64]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    pretraining: PretrainingConfig
    finetuning: FinetuningConfig
    compute: Compute
    checkpoint_seconds: float = 30.0

    @cached_property
    def names(self) -> str:
        """A digest of the images' ids and groups."""
        return digest([self.ids, self.groups])

    @property
    def places(self) -> tuple[Path, ...]:
        """What a machine that carries out a job must see: the run directory and the decoded images."""
        far_away = getattr(self.cache, "url", None) is not None  # such a cache is fetched by each machine itself
        return (self.directory.root,) if far_away else (self.directory.root, self.cache.folder)

    def common_identity(self) -> dict[str, Any]:
        """Return what every job's result depends on."""
        return {
            "seed": self.seed,
            "backbone": self.backbone.identity(),
            "images": {
                "size": self.preprocessing.size,
                "crop": self.preprocessing.crop,
                "cache": self.cache.folder.name,
            },
            "compute": vars(self.compute),
            "versions": {"results": RESULTS_VERSION, **versions()},
        }


def task_context(backbone: Backbone[Any], preprocessing: Preprocessing) -> TaskContext:
    """Return what a pretext task is told of images that were preprocessed so, for a backbone."""
    mask = torch.from_numpy(circular_mask(preprocessing.size)) if preprocessing.crop == "fundus" else None
    return TaskContext(preprocessing.size, backbone.mean, backbone.std, mask)


def versions() -> dict[str, str]:
    """Return the versions of sslkit and of what its numbers depend on."""
    return {name: metadata.version(name) for name in _VERSIONED}


def digest(value: Any) -> str:
    """Return a short name for plain values and arrays of int64."""
    text = json.dumps(value, sort_keys=True, default=lambda array: hashlib.sha256(array.astype("<i8")).hexdigest())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
