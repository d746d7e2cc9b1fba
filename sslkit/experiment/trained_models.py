"""The models that images are graded with: those of a run's folds, or one that was exported."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslkit.config import RunConfig
from sslkit.data.image_files import ImageFiles
from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.networks import Encoder
from sslkit.engine.precision import Compute, resolve_compute
from sslkit.errors import RunDirectoryError
from sslkit.experiment.exported import format_of, holds_run, read_exported, read_table
from sslkit.experiment.file_format import Decode, FileFormat
from sslkit.experiment.kept_models import (
    average_decoding,
    average_threshold,
    load_model,
    load_run_config,
    model_folders,
)
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import resolve
from sslkit.interfaces import DownstreamHead
from sslkit.registry import Registry


@dataclass(frozen=True)
class TrainedModels:
    """What images are graded with.

    Attributes:
        preprocessing: what the models' training images went through.
        models: encoders and heads.
        head: on the CPU; decodes the mean of their logits.
        compute: device and precision.
        threshold: from which probability of a referable grade an image is called referable; None: no call is made.
        decode: turns the bytes of a file of the data set's own format into pixels; None: it has none.
    """

    preprocessing: Preprocessing
    models: list[tuple[Encoder, DownstreamHead[Any]]]
    head: DownstreamHead[Any]
    compute: Compute
    threshold: float | None
    decode: Decode | None = None


def open_models(path: Path, registry: Registry, *, arm: str | None, pretext: str | None) -> TrainedModels:
    """Return the models of a run, or of a directory that was exported from one.

    Raises:
        RunDirectoryError: if there is neither, or the run does not keep a model of the arm for every fold.
    """
    if not holds_run(path):
        return _open_exported(path, registry, {"arm": arm, "pretext": pretext})
    directory = RunDirectory(path)
    config = load_run_config(directory)
    study = resolve(config, registry)
    # Not the run's own device, nor fp16, which this machine may not have.
    precision = config.compute.precision if config.compute.precision != "fp16" else "auto"
    compute = resolve_compute("auto", precision, False)
    folders = model_folders(directory, config.evaluation.folds, arm, pretext)
    models = [load_model(study, folder, compute) for folder in folders]
    head = average_decoding([head for _, head in models], folders)
    threshold = average_threshold(folders) if head.positive_from is not None else None
    return TrainedModels(study.preprocessing, models, head, compute, threshold, _format(config, registry).decode)


def find_images(
    path: Path,
    given: Sequence[str | Path],
    registry: Registry,
    *,
    image_column: str = "image",
    root: Path | None = None,
) -> ImageFiles:
    """Return the files that images are named by, for the models of a run or an exported directory.

    In a folder that is whatever the toolkit decodes, and what the run's data set does.

    Args:
        path: the run, or the exported directory.
        given: files, folders, patterns and tables; see [ImageFiles][sslkit.data.image_files.ImageFiles].
        registry: the installed plugins.
        image_column: of a table, the column of the paths.
        root: what paths in a table are relative to; by default the table's folder.

    Raises:
        RunDirectoryError: if there is neither a run nor an exported directory.
    """
    if holds_run(path):
        found = _format(load_run_config(RunDirectory(path)), registry)
    else:
        found = format_of(path, read_table(path), registry)
    return ImageFiles(given, image_column, root, found.suffixes)


def _open_exported(path: Path, registry: Registry, choices: dict[str, str | None]) -> TrainedModels:
    """Return what an exported directory holds; in float32, which is the same on every machine up to rounding."""
    if chosen := [f"--{name}" for name, value in choices.items() if value is not None]:
        raise RunDirectoryError(f"{path} was exported and holds one model; leave out {' and '.join(chosen)}")
    compute = resolve_compute("auto", "fp32", False)
    model = read_exported(path, registry, compute)
    if model.head is None:
        raise RunDirectoryError(
            f"{path} holds the weights of a pretext task alone, and nothing that grades; export a model that was "
            "fine-tuned: sslkit export RUN DIR --weights finetuned"
        )
    head = copy.deepcopy(model.head).cpu()
    decode = format_of(path, read_table(path, model.config), registry).decode
    return TrainedModels(model.preprocessing, [(model.encoder, model.head)], head, compute, model.threshold, decode)


def _format(config: RunConfig, registry: Registry) -> FileFormat:
    return FileFormat.of(registry.find("dataset", config.dataset.name), config.images.max_pixels)
