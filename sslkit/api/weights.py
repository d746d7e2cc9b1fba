"""Weights and features that leave a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sslkit.api.given import Plugins, chosen_registry
from sslkit.data.image_files import ImageFiles
from sslkit.engine.precision import resolve_compute
from sslkit.errors import RunDirectoryError
from sslkit.experiment.embedding import Embedding
from sslkit.experiment.embedding_images import Told, embed_files, embed_run
from sslkit.experiment.exporting import Exported, check_target, export_weights
from sslkit.experiment.onnx_export import require_onnx
from sslkit.experiment.opening import open_weights
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.run_weights import Weights, load_run_weights
from sslkit.registry import Registry
from sslkit.report import weights_card

if TYPE_CHECKING:
    from torch import nn


def export(
    run_directory: str | Path,
    directory: str | Path,
    *,
    fold: int = 0,
    weights: Weights = "pretrained",
    pretext: str | None = None,
    arm: str | None = None,
    onnx: bool = False,
    registry: Registry | None = None,
    plugins: Plugins = (),
) -> Exported:
    """Write one network of a run as a directory that timm, sslkit and, as ONNX, any runtime loads.

    Args:
        run_directory: a run; one that is still under way has the pretrainings that are done.
        directory: where to: a new directory, an empty one, or an earlier export, which is replaced.
        fold: whose test images the weights must not have seen.
        weights: those of the pretext task alone, or ``"finetuned"``: with their head, trained on labels.
        pretext: of which pretext task; needed only where the run has several.
        arm: of finetuned weights; by default ``pretrained``.
        onnx: write model.onnx as well, and hold it against torch.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.

    Raises:
        sslkit.errors.RunDirectoryError: if there is no such run, it has no such weights, or the directory is in use.
        sslkit.errors.WeightsError: if ONNX cannot express the network, or comes to something else.

    Example:
        ```python title="export.py"
        exported = sslkit.export("runs/dr", "weights/dr")
        network = timm.create_model(f"local-dir:{exported.directory}", pretrained=True)
        ```
    """
    target = check_target(Path(directory))
    if onnx:
        require_onnx()
    chosen = load_run_weights(
        Path(run_directory),
        chosen_registry(registry, plugins),
        resolve_compute("cpu", "fp32", False),
        fold=fold,
        weights=weights,
        pretext=pretext,
        arm=arm,
    )
    return export_weights(
        chosen,
        target,
        lambda config, files: weights_card(Path(run_directory), config, target.name, files),
        onnx=onnx,
    )


def load_backbone(
    path: str | Path,
    *,
    fold: int = 0,
    weights: Weights = "pretrained",
    pretext: str | None = None,
    arm: str | None = None,
    registry: Registry | None = None,
    plugins: Plugins = (),
) -> nn.Module:
    """Return the encoder of a run or of an exported directory: a plain torch module on the CPU, in eval mode.

    It takes normalised images ([normalize][sslkit.normalize]) that were prepared as in the run
    ([Preprocessing][sslkit.Preprocessing]); [representation][sslkit.representation] gives their features.

    Args:
        path: a run directory, or what [export][sslkit.export] has written.
        fold: of a run: whose test images the weights must not have seen.
        weights: of a run: those of the pretext task alone, or ``"finetuned"`` on labels.
        pretext: of a run: of which pretext task; needed only where there are several.
        arm: of a run: of finetuned weights; by default ``pretrained``.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.

    Raises:
        sslkit.errors.RunDirectoryError: if there is neither, it has no such weights, or it was damaged.
        sslkit.errors.PluginError: if the backbone's plugin is not installed.

    Example:
        ```python title="features.py"
        encoder = sslkit.load_backbone("runs/dr", fold=1)
        features = sslkit.representation(encoder, images)
        ```
    """
    compute = resolve_compute("cpu", "fp32", False)
    found = open_weights(
        Path(path), chosen_registry(registry, plugins), compute, fold=fold, weights=weights, pretext=pretext, arm=arm
    )
    # Laid out as torch and timm do by themselves: rounding depends on it.
    return found.encoder.backbone.to(memory_format=torch.contiguous_format)


def embed(
    path: str | Path,
    images: Iterable[str | Path] | None = None,
    *,
    fold: int = 0,
    weights: Weights = "pretrained",
    pretext: str | None = None,
    arm: str | None = None,
    image_column: str = "image",
    root: str | Path | None = None,
    registry: Registry | None = None,
    plugins: Plugins = (),
    told: Told = lambda stage, done, total: None,
) -> Embedding:
    """Return the representations of images, in float32.

    Args:
        path: a run directory, or what [export][sslkit.export] has written.
        images: files, folders, patterns and tables, as [predict][sslkit.predict] takes them; None: the run's own
            images, with their grades, groups and folds.
        fold: of a run: whose test images the weights must not have seen.
        weights: of a run: those of the pretext task alone, or ``"finetuned"`` on labels.
        pretext: of a run: of which pretext task; needed only where there are several.
        arm: of a run: of finetuned weights; by default ``pretrained``.
        image_column: of a table, the column of the paths.
        root: what paths in a table are relative to; by default the table's folder.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.
        told: hears of progress: the stage, the images done, and their total.

    Raises:
        sslkit.errors.RunDirectoryError: if there is neither, it has no such weights, or its images are not at hand.
        sslkit.errors.DataError: if no image can be read.

    Example:
        ```python title="embed.py"
        embedding = sslkit.embed("runs/dr")
        test = embedding.folds == 0  # the images that these weights have not seen
        probe = LogisticRegression().fit(embedding.features[~test], embedding.grades[~test])
        ```
    """
    compute = resolve_compute("auto", "fp32", False)
    source = Path(path)
    found = open_weights(
        source, chosen_registry(registry, plugins), compute, fold=fold, weights=weights, pretext=pretext, arm=arm
    )
    if images is not None:
        files = ImageFiles(list(images), image_column, None if root is None else Path(root), found.suffixes)
        return embed_files(found, list(files), told)
    if found.study is None:
        raise RunDirectoryError(f"{path} was exported and knows no images; give some, or a run directory")
    return embed_run(found, found.study, RunDirectory(source), told)
