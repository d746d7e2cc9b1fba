"""The toolkit's verbs as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sslkit.config import RunConfig, load_config, parse_config
from sslkit.data.image_files import ImageFiles
from sslkit.engine.precision import resolve_compute
from sslkit.errors import RunDirectoryError, UsageError
from sslkit.experiment.audit import Audit
from sslkit.experiment.bench import Bench, estimate_run, measure_run
from sslkit.experiment.dry_run import DryRun, plan_run
from sslkit.experiment.embedding import Embedding
from sslkit.experiment.embedding_images import Told, embed_files, embed_run
from sslkit.experiment.exporting import Exported, check_target, export_weights
from sslkit.experiment.graded import GradedImage
from sslkit.experiment.onnx_export import require_onnx
from sslkit.experiment.opening import open_weights
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.run_result import RunResult
from sslkit.experiment.run_weights import Weights, load_run_weights
from sslkit.experiment.running import examine, execute_run
from sslkit.experiment.trained_models import find_images
from sslkit.registry import Registry, build_registry
from sslkit.report import weights_card, write_report

if TYPE_CHECKING:
    from torch import nn

    from sslkit.experiment.observation import RunObserver
    from sslkit.interfaces import Plugin

Plugins = Iterable["type[Plugin[Any]]"]
"""Plugin classes of the calling program itself."""

ConfigLike = RunConfig | Mapping[str, Any] | str | Path
"""A configuration: checked already, as plain tables, or a TOML file."""


def run(
    config: ConfigLike,
    output: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
    observer: RunObserver | None = None,
) -> RunResult:
    """Carry out a run, or what is missing of it, and write its report.

    Args:
        config: what to run.
        output: the run directory; by default ``runs/`` and the run's name.
        overrides: ``KEY=VALUE`` each.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.
        observer: hears of progress.

    Returns:
        Where the results are, the tables of results and summary, what they show, and what failed.

    Raises:
        sslkit.errors.UsageError: if configuration, data or directory cannot be used.
        sslkit.errors.JobError: if jobs failed; the others' results are kept and reported.
    """
    result = execute(config, output, overrides=overrides, registry=registry, plugins=plugins, observer=observer)
    result.raise_failures()
    return result


def execute(
    config: ConfigLike,
    output: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
    observer: RunObserver | None = None,
) -> RunResult:
    """Do as [run][sslkit.run] does, but return failures of jobs in place of raising them."""
    checked = _checked(config, overrides)
    result = execute_run(checked, _output(checked, output), _registry(registry, plugins), observer)
    write_report(result.directory.root)
    return result


def plan(
    config: ConfigLike,
    output: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
) -> DryRun:
    """Check everything that a run would need, and say what it would do; nothing is computed or written.

    Raises:
        sslkit.errors.UsageError: if configuration, data or directory cannot be used.
    """
    checked = _checked(config, overrides)
    return plan_run(checked, _output(checked, output), _registry(registry, plugins))


def doctor(
    config: ConfigLike,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
    observer: RunObserver | None = None,
) -> Audit:
    """Decode and audit the images of a configuration; nothing is trained, and nothing written but decoded images.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
    """
    return examine(_checked(config, overrides), _registry(registry, plugins), observer)


def bench(
    config: ConfigLike,
    *,
    overrides: Iterable[str] = (),
    seconds: float = 10.0,
    registry: Registry | None = None,
    plugins: Plugins = (),
    told: Callable[[str], None] = lambda stage: None,
    compiled: bool = False,
) -> Bench:
    """Measure each stage of a run on this machine, through the code that the run uses, and estimate the whole.

    Args:
        config: what would be run.
        overrides: ``KEY=VALUE`` each.
        seconds: for each stage, about.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.
        told: called with the name of each stage as it begins.
        compiled: time pretraining under ``compute.compile`` as well, which takes minutes.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
    """
    return measure_run(_checked(config, overrides), _registry(registry, plugins), seconds, told, compiled=compiled)


def estimate(
    config: ConfigLike, *, overrides: Iterable[str] = (), registry: Registry | None = None, plugins: Plugins = ()
) -> Bench:
    """Return what [bench][sslkit.bench] last measured of a configuration on this machine, or measure it in haste.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
    """
    return estimate_run(_checked(config, overrides), _registry(registry, plugins))


def predict(
    model: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    arm: str | None = None,
    pretext: str | None = None,
    image_column: str = "image",
    root: str | Path | None = None,
    cam: str | Path | None = None,
    registry: Registry | None = None,
    plugins: Plugins = (),
) -> Iterator[GradedImage]:
    """Grade images with the models of a run, one a fold, averaged; or with a model that was exported.

    Answers come one by one, in constant memory. One file may be answered more than once, if it is named so.

    Args:
        model: a run that has finished, or what ``sslkit export ... --weights finetuned`` wrote.
        images: image files; folders, of which all image files in and below are taken; patterns, such as
            ``"scans/**/*.jpg"``; tables of paths (``.csv``, ``.tsv``). An image that cannot be read is answered with an
            error, and the rest are graded.
        arm: whose models of a run; by default ``pretrained``.
        pretext: of which pretext task; needed only where the run has several.
        image_column: of a table, the column of the paths.
        root: what paths in a table are relative to; by default the table's folder.
        cam: a folder for a picture of each image, and of where the evidence for its grade lies.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.

    Raises:
        sslkit.errors.RunDirectoryError: if there is no such run, or it does not keep the arm's models.
        sslkit.errors.DataError: if a folder or a pattern gives no image, or a table cannot be read. Of images that are
            given as an iterator this is told when their turn comes.
    """
    registry = _registry(registry, plugins)
    model, folder = Path(model), None if root is None else Path(root)
    if isinstance(images, str | Path):
        images = [images]
    files: Iterable[Path]
    if isinstance(images, Sequence):
        files = find_images(model, images, registry, image_column=image_column, root=folder)
        files.count()
    else:
        found = (find_images(model, [one], registry, image_column=image_column, root=folder) for one in images)
        files = chain.from_iterable(found)
    predictor = Predictor.open(model, registry, arm=arm, pretext=pretext)
    return predictor.predict(files, cam=None if cam is None else Path(cam))


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
        _registry(registry, plugins),
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
        Path(path), _registry(registry, plugins), compute, fold=fold, weights=weights, pretext=pretext, arm=arm
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
        source, _registry(registry, plugins), compute, fold=fold, weights=weights, pretext=pretext, arm=arm
    )
    if images is not None:
        return embed_files(found, list(ImageFiles(list(images), suffixes=found.suffixes)), told)
    if found.study is None:
        raise RunDirectoryError(f"{path} was exported and knows no images; give some, or a run directory")
    return embed_run(found, found.study, RunDirectory(source), told)


def _checked(config: ConfigLike, overrides: Iterable[str]) -> RunConfig:
    if isinstance(config, str | Path):
        return load_config(Path(config), overrides)
    if isinstance(config, RunConfig):
        return parse_config(config.model_dump(mode="json"), root=config.root, overrides=overrides)
    return parse_config(config, root=Path.cwd(), overrides=overrides)


def _registry(registry: Registry | None, plugins: Plugins) -> Registry:
    if registry is None:
        return build_registry(extra=plugins)
    if plugins:
        raise UsageError("give either a registry or plugins; build_registry(extra=[...]) makes a registry with them")
    return registry


def _output(config: RunConfig, output: str | Path | None) -> Path:
    return Path("runs") / config.name if output is None else Path(output)
