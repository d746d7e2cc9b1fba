"""What all jobs of a run have in common: plugins, images, budgets, compute."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, overload

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


class SomeNames(Sequence[str]):
    """The names of some of a data set's images, by the rows of all.

    Args:
        names: of all images.
        rows: those whose names are kept.

    Example:
        >>> some = SomeNames(["a", "b", "c"], [2])
        >>> len(some), some[2]
        (3, 'c')
    """

    def __init__(self, names: Sequence[str], rows: Iterable[int]) -> None:
        self._len = len(names)
        self._names = {int(row): names[int(row)] for row in rows}

    def __len__(self) -> int:
        return self._len

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(self._len))]
        if row not in self._names:
            raise LookupError(f"the name of image {row} has not travelled with the job, which said that it needs none")
        return self._names[row]


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
        processes: that carry out a pretraining together.
        sync_batchnorm: whether BatchNorm sees the whole batch then, or each process its own part.
    """

    directory: RunDirectory
    seed: int
    backbone: Configured
    head: Configured
    preprocessing: Preprocessing
    cache: ImageCache
    grades: npt.NDArray[np.int64]
    ids: Sequence[str]
    groups: Sequence[str]
    pretraining: PretrainingConfig
    finetuning: FinetuningConfig
    compute: Compute
    checkpoint_seconds: float = 30.0
    processes: int = 1
    sync_batchnorm: bool = True

    @cached_property
    def names(self) -> str:
        """A digest of the images' ids and groups."""
        return digest([list(self.ids), list(self.groups)])

    def with_names_of(self, rows: Iterable[int]) -> Recipe:
        """Return the recipe as it travels with a job: without the names of images that the job never tells.

        With many images, all names would be most of what a job takes with it. Their digest stays.

        Args:
            rows: the images whose ids and groups are needed.
        """
        rows = list(rows)
        less = replace(self, ids=SomeNames(self.ids, rows), groups=SomeNames(self.groups, rows))
        less.__dict__["names"] = self.names
        return less

    def moved(self, run: Path, cache: Path) -> Recipe:
        """Return the same recipe for another run directory and folder of caches."""
        moved = replace(self, directory=RunDirectory(run), cache=self.cache.moved(cache))
        moved.__dict__["names"] = self.names  # on a node, most of them have not travelled along
        return moved

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
