"""A configuration whose plugins are found and whose options are checked, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from torch import nn

from sslkit.blame import blame
from sslkit.config import PluginConfig, PluginTable, RunConfig
from sslkit.config.schema import parts_of
from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.heads import check_classes
from sslkit.engine.networks import build_network, call_with_seed
from sslkit.engine.points import strides_over_a_point
from sslkit.engine.precision import Compute, resolve_compute
from sslkit.errors import ConfigError
from sslkit.experiment.batches import check_batch_size, check_processes
from sslkit.experiment.cell import PRETRAINED_ARMS
from sslkit.experiment.recipe import Configured, task_context
from sslkit.interfaces import Dataset, DownstreamHead, PretextTask
from sslkit.registry import Kind, Registry
from sslkit.torchrun import launch
from sslkit.types import TaskContext


@dataclass(frozen=True)
class Study:
    """A configuration whose plugins are found and whose options are checked.

    Attributes:
        config: the configuration.
        dataset: the data set plugin, and so on for the others.
        backbone: the backbone plugin.
        tasks: the pretext task plugins.
        head: the head plugin.
        executor: the executor plugin.
    """

    config: RunConfig
    dataset: Configured
    backbone: Configured
    tasks: tuple[Configured, ...]
    head: Configured
    executor: Configured

    @property
    def processes(self) -> int:
        """How many processes carry out a pretraining together: torchrun's, where it has started this one."""
        launched = launch()
        return self.config.compute.processes if launched is None else launched.size

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to an image before anything sees it."""
        images = self.config.images
        return Preprocessing(images.size, images.crop, images.max_pixels)

    def resolve_compute(self) -> Compute:
        """Return what the run computes on, on this machine.

        Raises:
            ConfigError: if the device asked for is not there, or computes wrongly in the precision asked for.
        """
        settings = self.config.compute
        precision = settings.precision
        if precision == "auto" and self._lacking("bf16", self.head):
            precision = "fp32"
        compute = resolve_compute(settings.device, precision, settings.compile)
        if (compute.family, compute.precision) != ("cpu", "bf16") or self._side_of_a_point is None:
            return compute
        if precision == "auto":
            return replace(compute, precision="fp32")
        raise ConfigError(
            f"compute.precision: with images of {self._side_of_a_point} px the backbone {self.backbone.name!r} "
            "convolves maps of one pixel, whose gradients a CPU gets wrong in bf16; choose 'fp32' or 'auto', or larger "
            "images or views"
        )

    @cached_property
    def _side_of_a_point(self) -> int | None:
        """The side of images or views from which the backbone comes to convolve a map of one pixel; None: of no one."""
        backbone = self.backbone.make()
        sides = {self.config.images.size}
        if PRETRAINED_ARMS.intersection(self.config.evaluation.arms):
            context = task_context(backbone, self.preprocessing)
            sides |= {side for task in self.tasks for side in task.view_sizes(context)}
        network = call_with_seed(0, partial(build_network, backbone))
        return next((side for side in sorted(sides) if strides_over_a_point(network, side)), None)

    def _lacking(self, tag: str, *others: Configured) -> Configured | None:
        """Return one of backbone, pretext tasks and other plugins that does not claim what the tag says, if any."""
        asked = (self.backbone, *self.tasks_with_parts(), *others)
        return next((plugin for plugin in asked if tag not in plugin.info.cls.tags), None)

    def check_claims(self) -> None:
        """Refuse a configuration that asks more of a plugin than the plugin claims.

        Raises:
            ConfigError: naming the plugin, and what to choose.
        """
        settings = self.config.compute
        if settings.precision in ("bf16", "fp16") and (plugin := self._lacking("bf16", self.head)):
            raise ConfigError(
                f"compute.precision: {plugin.info.provenance.described} does not claim to work in half precision, so "
                f"not in {settings.precision!r}; choose 'fp32' or 'auto'"
            )
        if settings.compile and (plugin := self._lacking("compile")):
            raise ConfigError(
                f"compute.compile: {plugin.info.provenance.described} does not claim to work under torch.compile; "
                "choose false"
            )

    def make_dataset(self) -> Dataset[Any]:
        """Construct the data set."""
        dataset: Dataset[Any] = self.dataset.make()
        dataset.max_pixels = self.config.images.max_pixels
        return dataset

    def make_head(self, num_features: int = 1) -> DownstreamHead[Any]:
        """Construct a head; its width does not matter where only its classes and its decoding are asked for."""
        head: DownstreamHead[Any] = call_with_seed(0, partial(self.head.make, num_features))
        check_classes(head)
        return head

    def resolved(self) -> dict[str, Any]:
        """Return the whole configuration as plain values, with every default and absolute paths."""
        tables = self.config.model_dump(mode="json", exclude_none=True)
        for key in ("dataset", "backbone", "head"):
            tables[key] = getattr(self, key).resolved()
        tables["pretext"] = [task.resolved() for task in self.tasks]
        tables["executor"] = {key: value for key, value in self.executor.resolved().items() if key != "name"}
        if not tables["executor"]:
            del tables["executor"]
        return tables

    def modules(self) -> list[str]:
        """Return the modules of those plugins, for a worker to have loaded."""
        return sorted({plugin.info.cls.__module__ for plugin in self.plugins()})

    def plugins(self) -> tuple[Configured, ...]:
        """Return all plugins that the run uses."""
        return tuple(plugin for plugin, _ in self.plugins_with_wholes())

    def plugins_with_wholes(self) -> list[tuple[Configured, Configured | None]]:
        """Return the same, each with the pretext task of the configuration that it is a part of, if it is."""
        tasks = [(part, None if part is task else task) for task in self.tasks for part in task.with_parts()]
        return [(self.dataset, None), (self.backbone, None), *tasks, (self.head, None), (self.executor, None)]

    def tasks_with_parts(self) -> tuple[Configured, ...]:
        """Return the pretext tasks and, behind each, those that it is made of."""
        return tuple(part for task in self.tasks for part in task.with_parts())

    def deprecations(self) -> list[str]:
        """Return a sentence on each of them that a later sslkit will set aside."""
        return [text for plugin in self.plugins() if (text := plugin.info.deprecation)]


def resolve(config: RunConfig, registry: Registry) -> Study:
    """Find the plugins of a configuration and check their options.

    Raises:
        PluginError: if a plugin or an observer is not installed.
        ConfigError: if an option is wrong, or the backbone cannot take the size of images or views.
    """
    find = partial(configure, registry, config.root)
    study = Study(
        config,
        find("dataset", config.dataset, "dataset"),
        find("backbone", config.backbone, "backbone"),
        tuple(find("pretext-task", table, "pretext") for table in config.pretext),
        find("head", config.head, "head"),
        _find_executor(find, config),
    )
    study.check_claims()
    for name in config.observers:
        registry.require_observer(name)
    _check_sizes(study)
    _check_published_weights(study)
    return study


def _find_executor(find: Callable[[Kind, PluginTable, str], Configured], config: RunConfig) -> Configured:
    if "name" in config.executor:
        raise ConfigError("executor.name: this table holds options alone; compute.executor names the executor")
    name = config.compute.executor
    try:
        return find("executor", PluginTable(name=name, **config.executor), "executor")
    except ConfigError as error:  # the options may be right, and meant for an executor that nobody has chosen
        raise ConfigError(f"{error}\n[executor] holds the options of compute.executor, which is {name!r}") from error


def configure(registry: Registry, root: Path, kind: Kind, table: PluginTable, key: str) -> Configured:
    """Return the plugin that a table of the configuration names, and those that it is made of.

    Args:
        registry: the installed plugins.
        root: the folder that relative paths are relative to.
        kind: the kind of plugin.
        table: its name and options.
        key: the table's path in the configuration, for messages.

    Raises:
        PluginError: if a plugin is not installed.
        ConfigError: if an option is wrong.
    """
    info, options = registry.configure(kind, table.name, table.options, root=root, key=key)
    return Configured(info, options, find_parts(registry, root, options, key))


def find_parts(registry: Registry, root: Path, options: PluginConfig, key: str) -> tuple[Configured, ...]:
    """Return the pretext tasks that a task with such options is made of; for arguments and errors see `configure`."""
    if parts_of(type(options)) is None:
        return ()
    tables: tuple[PluginTable, ...] = vars(options)["parts"]
    return tuple(
        configure(registry, root, "pretext-task", table, f"{key}.parts.{place}") for place, table in enumerate(tables)
    )


def _check_sizes(study: Study) -> None:
    backbone = study.backbone.make()
    size = study.config.images.size

    def refused(side: int) -> str | None:
        with blame(backbone.provenance, "supports()"):
            reason: str | None = backbone.supports(side)
        return reason

    if reason := refused(size):
        raise ConfigError(f"images.size: the backbone {study.backbone.info.name!r} cannot take {size} px: {reason}")
    if not PRETRAINED_ARMS.intersection(study.config.evaluation.arms):
        return
    check_batch_size(study)
    check_processes(study)
    context = task_context(backbone, study.preprocessing)
    network = cache(lambda: call_with_seed(0, partial(build_network, backbone)))  # for all tasks that ask, or for none
    for task in study.tasks:
        for view in _view_sizes(task, context):
            if reason := refused(view):
                raise ConfigError(
                    f"images.size: with {size} px images the task {task.info.name!r} makes views of {view} px, "
                    f"which the backbone {study.backbone.info.name!r} cannot take: {reason}; raise images.size, or "
                    "make the views larger by the task's own options in [pretext]"
                )
        _check_network(study, task, network, context)


def _check_network(study: Study, task: Configured, network: Callable[[], nn.Module], context: TaskContext) -> None:
    classes = {base for part in task.with_parts() for base in part.info.cls.__mro__} - {PretextTask}
    if not any("supports" in vars(cls) for cls in classes):
        return  # whatever there is is taken: no network needs to be built
    if reason := task.supports(network(), context):
        raise ConfigError(
            f"pretext: the task {task.name!r} cannot train the backbone {study.backbone.name!r}: {reason}"
        )


def _view_sizes(task: Configured, context: TaskContext) -> tuple[int, ...]:
    try:
        return task.view_sizes(context)
    except ValueError as error:
        raise ConfigError(f"the pretext task {task.info.name!r} can make no views of these images: {error}") from error


def _check_published_weights(study: Study) -> None:
    if "imagenet" not in study.config.evaluation.arms:
        return
    for name, value in vars(study.backbone.config).items():
        if isinstance(value, Path) and not value.exists():
            raise ConfigError(f"backbone.{name}: there is no {value}, which the arm 'imagenet' needs")
