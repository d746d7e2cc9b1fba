"""The network of one fold of a run: as the pretext task left it, or as it was then trained on labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sslkit.checksums import flaws
from sslkit.engine.networks import Encoder, build_encoder
from sslkit.engine.precision import Compute
from sslkit.engine.weights import load_weights
from sslkit.errors import RunDirectoryError, did_you_mean
from sslkit.experiment.cell import PRETRAINED_ARMS
from sslkit.experiment.kept_models import average_decoding, kept_cells, load_model, load_run_config
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import Study, resolve
from sslkit.interfaces import DownstreamHead
from sslkit.printable import shown
from sslkit.registry import Registry

Weights = Literal["pretrained", "finetuned"]
"""Those of the pretext task alone, or those that were then trained on labels."""


@dataclass(frozen=True)
class RunWeights:
    """A network of a run.

    Attributes:
        study: the run's configuration, its plugins found.
        encoder: the network behind its normalisation, in eval mode.
        head: the head with what was fitted across folds, in eval mode on the CPU; None with ``"pretrained"``.
        threshold: the summed probability from which an image is called positive; None: there is none.
        weights: which they are.
        pretext: the pretext task; empty of an arm that has none.
        fold: whose test images the weights have not seen; None: the pretraining saw all images.
        arm: of finetuned weights.
        epoch: of the pretraining, as it was kept; None of finetuned weights.
    """

    study: Study
    encoder: Encoder
    head: DownstreamHead[Any] | None
    threshold: float | None
    weights: Weights
    pretext: str
    fold: int | None
    arm: str | None
    epoch: int | None


def load_run_weights(
    folder: Path,
    registry: Registry,
    compute: Compute,
    *,
    fold: int = 0,
    weights: Weights = "pretrained",
    pretext: str | None = None,
    arm: str | None = None,
) -> RunWeights:
    """Return a network of a run.

    Args:
        folder: the run directory; a run that is still under way has the pretrainings that are done.
        registry: the installed plugins.
        compute: device and precision.
        fold: whose test images the weights must not have seen.
        weights: those of the pretext task, or those that were then trained on labels.
        pretext: of which pretext task; needed only where the run has several.
        arm: of finetuned weights; by default ``pretrained``.

    Raises:
        RunDirectoryError: if the run has no such weights, saying which it has.
    """
    directory = RunDirectory(folder)
    config = load_run_config(directory)
    if not 0 <= fold < config.evaluation.folds:
        raise RunDirectoryError(f"{folder} has no fold {fold}; its folds are 0 to {config.evaluation.folds - 1}")
    if weights == "pretrained" and arm is not None:
        raise RunDirectoryError(
            f"the arm {shown(arm)} is one of models trained on labels; give --weights finetuned with --arm, or leave "
            "--arm out"
        )
    study = resolve(config, registry)
    if weights == "pretrained":
        return _pretrained(directory, study, compute, fold, pretext)
    return _finetuned(directory, study, compute, fold, pretext, arm)


def _pretrained(directory: RunDirectory, study: Study, compute: Compute, fold: int, pretext: str | None) -> RunWeights:
    task = _choose_task(directory, study, pretext)
    seen = None if study.config.pretraining.images == "all" else fold
    source = directory.pretraining(task, seen)
    if found := flaws(source, ("backbone.safetensors", "config.json")):
        done = sorted(path.parent.name for path in source.parent.glob("*/backbone.safetensors"))
        unfinished = not (source / "backbone.safetensors").is_file()
        said = "has not finished" if unfinished else f"is damaged ({'; '.join(found)})"
        which = "" if seen is None else f", fold {seen},"
        has = f" Finished of it: folds {', '.join(done)}." if unfinished and done else ""
        raise RunDirectoryError(
            f"the pretraining of {task}{which} in {directory.root} {said}; the command of the run, given again, does "
            f"what is missing.{has}"
        )
    encoder = build_encoder(study.backbone.make(), compute)
    load_weights(encoder.backbone, source / "backbone.safetensors")
    encoder.eval()
    about = json.loads((source / "config.json").read_text(encoding="utf-8"))
    epoch = about.get("sslkit", {}).get("epoch")
    return RunWeights(study, encoder, None, None, "pretrained", task, seen, None, epoch)


def _choose_task(directory: RunDirectory, study: Study, pretext: str | None) -> str:
    names = [task.name for task in study.tasks]
    if not PRETRAINED_ARMS.intersection(study.config.evaluation.arms):
        raise RunDirectoryError(
            f"{directory.root} pretrains nothing: its arms are {', '.join(study.config.evaluation.arms)}; give "
            "--weights finetuned with one of them as --arm"
        )
    if pretext is None and len(names) > 1:
        raise RunDirectoryError(
            f"{directory.root} has weights of several pretext tasks ({', '.join(names)}); choose one by --pretext"
        )
    if pretext is not None and pretext not in names:
        hint = did_you_mean(pretext, names) or "."
        raise RunDirectoryError(
            f"{directory.root} has no pretext task {shown(pretext)}{hint} It has: {', '.join(names)}."
        )
    return names[0] if pretext is None else pretext


def _finetuned(
    directory: RunDirectory, study: Study, compute: Compute, fold: int, pretext: str | None, arm: str | None
) -> RunWeights:
    cells = kept_cells(directory, arm, pretext)
    if fold not in cells:
        raise RunDirectoryError(
            f"{directory.root} keeps no model of fold {fold}, but of folds {', '.join(map(str, sorted(cells)))}; "
            "the command of the run, given again, does what is missing"
        )
    cell = cells[fold]
    source = directory.cell(cell["cell"])
    encoder, head = load_model(study, source, compute)
    encoder.eval()
    result = json.loads((source / "result.json").read_text(encoding="utf-8"))
    return RunWeights(
        study,
        encoder,
        average_decoding([head], [source]).eval(),
        result.get("referable_threshold"),
        "finetuned",
        cell["pretext"],
        fold,
        cell["arm"],
        None,
    )
