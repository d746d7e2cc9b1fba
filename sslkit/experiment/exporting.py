"""Writes a network of a run as a directory of its own: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from sslkit.checksums import SUMS, seal
from sslkit.engine.networks import build_network, call_with_seed
from sslkit.engine.weights import load_state
from sslkit.errors import RunDirectoryError, StorageError
from sslkit.experiment.export_format import (
    BACKBONE,
    CARD,
    CONFIG,
    FORMAT,
    HEAD,
    ONNX,
    ExportedPlugin,
    ExportedPreprocessing,
    ExportTable,
)
from sslkit.experiment.exported import is_exported, tensors_of
from sslkit.experiment.file_format import has_own_format
from sslkit.experiment.onnx_export import write_onnx
from sslkit.experiment.recipe import Configured
from sslkit.experiment.run_weights import RunWeights
from sslkit.experiment.timm_config import timm_arguments, timm_keys, why_not_for_timm
from sslkit.files import (
    absolute,
    flush_folder,
    make_folder,
    make_scratch,
    part_of,
    write_atomically,
    write_json,
    write_text,
)

OWN = frozenset({CONFIG, BACKBONE, HEAD, ONNX, CARD, SUMS})
"""The files of an exported directory."""


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        directory: where.
        weights: ``"pretrained"`` or ``"finetuned"``.
        pretext: the pretext task; empty of an arm that has none.
        fold: whose test images the weights have not seen; None: the pretraining saw all images.
        arm: of finetuned weights.
        num_features: D, the width of the representation.
        not_for_timm: why plain timm cannot load the directory; None: it can.
        onnx_output: what model.onnx gives: ``"features"``, ``"probabilities"`` or ``"logits"``; None: there is none.
        onnx_difference: the largest difference between model.onnx and torch; None where none was asked for.
        files: names of what was written, with their sizes in bytes.
    """

    directory: Path
    weights: str
    pretext: str
    fold: int | None
    arm: str | None
    num_features: int
    not_for_timm: str | None
    onnx_output: str | None
    onnx_difference: float | None
    files: Mapping[str, int]


def check_target(directory: Path) -> Path:
    """Return where a path leads, if an export may go there.

    Raises:
        RunDirectoryError: if there is something else.
    """
    try:
        target = absolute(directory)
    except ValueError as error:
        raise RunDirectoryError(f"nothing can be exported to {directory}: {error}; give another DIR") from None
    if target.exists() and not target.is_dir():
        raise RunDirectoryError(f"{directory} is a file; give the path of a new directory")
    names = {path.name for path in target.iterdir()} if target.exists() else set()
    if not names or (is_exported(target) and names <= OWN):
        return target
    kind = "is an earlier export, but holds more than it" if is_exported(target) else "is not empty"
    others = sorted(names - OWN if is_exported(target) else names)
    listed = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    raise RunDirectoryError(
        f"{directory} {kind} ({listed}), and an export replaces the whole directory; give a new one, or take these "
        "files away"
    )


def export_weights(
    chosen: RunWeights,
    target: Path,
    write_card: Callable[[Mapping[str, Any], Mapping[str, str]], str],
    *,
    onnx: bool = False,
) -> Exported:
    """Write a directory that timm and sslkit load.

    Args:
        chosen: what to export.
        target: where; see `check_target`.
        write_card: gives the text of the model card, of config.json and of what each file is.
        onnx: write model.onnx as well.

    Raises:
        StorageError: if it cannot be written; an earlier export there stays.
    """
    make_folder(target.parent)
    scratch = make_scratch(target)
    try:
        table, keys = _write_weights(chosen, scratch)
        output, difference = write_onnx(chosen, scratch / ONNX) if onnx else (None, None)
        sealed = sorted(path.name for path in scratch.iterdir())
        seal(scratch, sealed)
        write_text(scratch / CARD, write_card(keys, _files(chosen, output)))
        sizes = {path.name: path.stat().st_size for path in sorted(scratch.iterdir())}
        _move(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Exported(
        target,
        chosen.weights,
        chosen.pretext,
        chosen.fold,
        chosen.arm,
        int(chosen.encoder.backbone.head_hidden_size),  # type: ignore[arg-type]
        table.not_for_timm,
        output,
        difference,
        sizes,
    )


def _files(chosen: RunWeights, onnx: str | None) -> dict[str, str]:
    """Return what each file of the directory is."""
    size = chosen.study.config.images.size
    files = {
        CONFIG: "what the network is built with: timm's own keys, and a table `sslkit` of the toolkit's",
        BACKBONE: "the weights of the encoder",
    }
    if chosen.head is not None:
        files[HEAD] = "the head, with what was fitted across folds"
    if onnx is not None:
        files[ONNX] = (
            f"the same as ONNX: `images`, prepared (RGB, uint8, N x 3 x {size} x {size}, not normalised), to `{onnx}`"
        )
    return {**files, SUMS: "checksums of these files: `sha256sum --check SHA256SUMS`"}


def _write_weights(chosen: RunWeights, folder: Path) -> tuple[ExportTable, dict[str, Any]]:
    study, network = chosen.study, chosen.encoder.backbone
    tensors = network.state_dict()
    write_atomically(folder / BACKBONE, lambda file: file.write(save(_plain(tensors))))
    if chosen.head is not None:
        known = tensors_of(chosen.head)
        write_atomically(folder / HEAD, lambda file: file.write(save(_plain(known))))
    images, backbone = study.config.images, study.backbone
    mean, std = ((float(a), float(b), float(c)) for a, b, c in (chosen.encoder.mean, chosen.encoder.std))
    table = ExportTable(
        format=FORMAT,
        weights=chosen.weights,
        run=study.config.name,
        pretext=chosen.pretext,
        fold=chosen.fold,
        arm=chosen.arm,
        epoch=chosen.epoch,
        dataset=_decoding(study.dataset),
        backbone=_described(backbone),
        head=None if chosen.head is None else _described(study.head),
        class_names=() if chosen.head is None else tuple(chosen.head.class_names),
        threshold=chosen.threshold,
        preprocessing=ExportedPreprocessing(size=images.size, crop=images.crop, max_pixels=images.max_pixels),
        mean=mean,
        std=std,
    )
    # One as its plugin builds it, whose convolutions are laid out as timm's: rounding depends on that.
    fresh = call_with_seed(0, lambda: build_network(backbone.make()))
    load_state(fresh, _plain(tensors), source="the run")
    arguments = timm_arguments(fresh, vars(backbone.config).get("options") or {})
    reason = arguments if isinstance(arguments, str) else None
    origin = f"{table.backbone.name} of {table.backbone.distribution} {table.backbone.version}"
    name = f"{origin}, which is no model of timm: sslkit.load_backbone loads it"

    def write(given: dict[str, Any] | None) -> dict[str, Any]:
        keys = timm_keys(network, images.size, images.crop, mean, std, given, name)
        whole = {**keys, "sslkit": table.model_copy(update={"not_for_timm": reason}).model_dump(mode="json")}
        write_json(folder / CONFIG, whole)
        return whole

    keys = write(None if isinstance(arguments, str) else arguments)
    if reason is None and (reason := why_not_for_timm(folder, fresh, images.size)) is not None:
        keys = write(None)
    return table.model_copy(update={"not_for_timm": reason}), keys


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return copies that share no memory, which safetensors refuses."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _described(plugin: Configured) -> ExportedPlugin:
    """Return what finds a plugin again; paths of this machine, such as of published weights, stay behind."""
    paths = {
        name
        for name, field in type(plugin.config).model_fields.items()
        if isinstance(vars(plugin.config)[name], Path) and not field.is_required()
    }
    options = plugin.config.model_dump(mode="json", exclude_none=True, by_alias=True, exclude=paths)
    return ExportedPlugin(
        name=plugin.name, options=options, distribution=plugin.info.distribution, version=plugin.info.version
    )


def _decoding(dataset: Configured) -> ExportedPlugin | None:
    """Return what decodes a data set's own format, without its options, which say where its images are."""
    info = dataset.info
    if not has_own_format(info):
        return None
    return ExportedPlugin(name=info.name, distribution=info.distribution, version=info.version)


def _move(scratch: Path, target: Path) -> None:
    """Put a finished directory in place of an empty one, of none, or of an earlier export."""
    earlier = part_of(target)
    try:
        if target.exists():
            target.rename(earlier)
        try:
            os.replace(scratch, target)
        except OSError:
            if earlier.exists():
                earlier.rename(target)
            raise
        flush_folder(target.parent)
    except OSError as error:
        raise StorageError.of(target, error) from error
    shutil.rmtree(earlier, ignore_errors=True)
