"""Reads what ``sslkit export`` has written: a network, its head where there is one, and what images must go through."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch

from sslkit.checksums import flaws
from sslkit.config import PluginTable
from sslkit.config.loading import validate
from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.heads import check_classes
from sslkit.engine.networks import Encoder, build_network, call_with_seed, to_compute
from sslkit.engine.precision import Compute
from sslkit.engine.weights import load_weights, read_weights, refuse_misfits
from sslkit.errors import ConfigError, PluginError, RunDirectoryError
from sslkit.experiment.export_format import BACKBONE, CONFIG, FORMAT, HEAD, ExportedPlugin, ExportTable
from sslkit.experiment.file_format import FileFormat
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import configure
from sslkit.interfaces import Backbone, DownstreamHead
from sslkit.printable import abbreviate, shown
from sslkit.registry import Kind, Registry

_MOST_BYTES = 2**20
"""Of config.json, which takes a few thousand."""


@dataclass(frozen=True)
class ExportedModel:
    """What an exported directory holds.

    Attributes:
        preprocessing: what an image must go through.
        encoder: the network behind its normalisation, in eval mode, on the device.
        head: the head with what was fitted across folds, in eval mode; None: the weights are a pretext task's alone.
        threshold: the summed probability from which an image is called positive ("referable"); None: there is none.
        config: config.json, as it stands.
    """

    preprocessing: Preprocessing
    encoder: Encoder
    head: DownstreamHead[Any] | None
    threshold: float | None
    config: Mapping[str, Any]


def is_exported(folder: Path) -> bool:
    """Return whether ``sslkit export`` has written a folder."""
    try:
        return _is_table(_read_json(folder).get("sslkit"))
    except RunDirectoryError:
        return False


def holds_run(path: Path) -> bool:
    """Return whether a path is a run; if not, it is a directory that was exported, be it damaged.

    Raises:
        RunDirectoryError: if it is neither.
    """
    if RunDirectory(path).config.is_file():
        return True
    if any((path / name).exists() for name in (CONFIG, BACKBONE)):
        return False
    raise RunDirectoryError(
        f"{path} holds neither a run (no config.toml) nor exported weights (no {CONFIG}); give the directory of "
        "'sslkit run' or of 'sslkit export'"
    )


def format_of(folder: Path, table: ExportTable, registry: Registry) -> FileFormat:
    """Return which files hold images for an exported network.

    Args:
        folder: the exported directory.
        table: of its config.json.
        registry: the installed plugins.

    Raises:
        PluginError: if the plugin that reads files which are no photographs is not installed.
    """
    if table.dataset is None:
        return FileFormat()
    try:
        return FileFormat.of(registry.find("dataset", table.dataset.name), table.preprocessing.max_pixels)
    except PluginError as error:
        raise _missing(folder, "dataset", table.dataset, error) from error


def read_exported(folder: Path, registry: Registry, compute: Compute) -> ExportedModel:
    """Return what an exported directory holds.

    Args:
        folder: what ``sslkit export`` has written.
        registry: the installed plugins; those of the backbone and the head are needed.
        compute: device and precision.

    Raises:
        RunDirectoryError: if it is no such directory, or was damaged.
        PluginError: if the backbone's or the head's plugin is not installed.
        WeightsError: if the plugin, changed since then, builds another network.
    """
    config = _read_json(folder)
    table = read_table(folder, config)
    names = [CONFIG, BACKBONE, *([HEAD] if table.head else [])]
    if found := flaws(folder, names):
        raise RunDirectoryError(f"{folder}: {'; '.join(found)}. It was changed or damaged; export it again")
    preprocessing = Preprocessing(table.preprocessing.size, table.preprocessing.crop, table.preprocessing.max_pixels)
    encoder = _make_encoder(folder, table, registry, compute)
    head = None if table.head is None else _make_head(folder, table.head, encoder, registry, compute)
    return ExportedModel(preprocessing, encoder, head, table.threshold, config)


def read_table(folder: Path, config: Mapping[str, Any] | None = None) -> ExportTable:
    """Return the toolkit's own table of an exported directory's config.json.

    Raises:
        RunDirectoryError: if there is none, or it is not as the toolkit writes it.
    """
    config = _read_json(folder) if config is None else config
    values = config.get("sslkit")
    if not _is_table(values):
        raise RunDirectoryError(
            f"{folder} was not written by 'sslkit export': its {CONFIG} has no table 'sslkit' of one"
        )
    if isinstance(version := values.get("format"), int) and version > FORMAT:
        raise RunDirectoryError(
            f"{folder} was written by a later sslkit (format {version}; this one reads up to {FORMAT}); "
            "pip install --upgrade sslkit"
        )
    try:
        return validate(ExportTable, values, root=folder, key="sslkit")
    except ConfigError as error:
        raise RunDirectoryError(
            f"{folder / CONFIG} is not as 'sslkit export' writes it; export it again:\n{error}"
        ) from None


def _is_table(values: object) -> TypeGuard[dict[str, Any]]:
    """Return whether it is meant for ExportTable; a pretraining's config.json has a table "sslkit", too."""
    return isinstance(values, dict) and "format" in values


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES:,} bytes")
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ValueError("no table of keys")
    except (FileNotFoundError, NotADirectoryError):
        raise RunDirectoryError(f"{folder} is no directory of 'sslkit export': it has no {CONFIG}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path} cannot be read: {abbreviate(str(error), 300)}; export it again") from None
    return values


def _make_encoder(folder: Path, table: ExportTable, registry: Registry, compute: Compute) -> Encoder:
    backbone: Backbone[Any] = _make(folder, "backbone", table.backbone, registry)
    network = call_with_seed(0, lambda: build_network(backbone))
    load_weights(network, folder / BACKBONE)
    encoder = Encoder(to_compute(network, compute), table.mean, table.std, compute, backbone.provenance)
    encoder.eval()
    return encoder


def _make_head(
    folder: Path, plugin: ExportedPlugin, encoder: Encoder, registry: Registry, compute: Compute
) -> DownstreamHead[Any]:
    width: Any = encoder.backbone.head_hidden_size
    head: DownstreamHead[Any] = call_with_seed(0, lambda: _make(folder, "head", plugin, registry, width))
    check_classes(head)
    given, own = read_weights(folder / HEAD), tensors_of(head)
    refuse_misfits(given, own, network=head, source=str(folder / HEAD))
    with torch.no_grad():
        for name, tensor in given.items():
            own[name].copy_(tensor)
    return head.to(compute.device).eval()


def tensors_of(head: DownstreamHead[Any]) -> dict[str, torch.Tensor]:
    """Return all that a head knows: parameters and buffers, those outside its state dict too, in which a fit may be."""
    return {**head.state_dict(), **dict(head.named_buffers())}


def _make(folder: Path, kind: Kind, plugin: ExportedPlugin, registry: Registry, *arguments: Any) -> Any:
    table = PluginTable.model_validate({"name": plugin.name, **plugin.options})
    try:
        return configure(registry, folder.absolute(), kind, table, kind).make(*arguments)
    except ConfigError as error:
        raise RunDirectoryError(
            f"{folder}: the {kind} {shown(plugin.name)} does not take the options that it was exported with, by "
            f"{plugin.distribution} {plugin.version}: {error}"
        ) from error
    except PluginError as error:
        if any((found.kind, found.name) == (kind, plugin.name) for found in registry.plugins):
            raise
        raise _missing(folder, kind, plugin, error) from error


def _missing(folder: Path, kind: Kind, plugin: ExportedPlugin, error: PluginError) -> PluginError:
    return PluginError(
        f"{folder} needs the {kind} {shown(plugin.name)} of {plugin.distribution} {plugin.version}, which is not "
        f"installed: pip install {plugin.distribution}. ({error})"
    )
