"""Configurations small enough for tests: a tiny network on a handful of computed photographs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import sslkit
from sslkit.checksums import seal
from sslkit.config import RunConfig, parse_config
from sslkit.engine.precision import Compute
from sslkit.experiment.environment import process_context
from sslkit.experiment.observation import Silent
from sslkit.experiment.plan import make_manifest
from sslkit.experiment.preparation import Prepared, prepare
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import resolve
from sslkit.interfaces import Plugin


def tiny_tables(**changes: Any) -> dict[str, Any]:
    tables: dict[str, Any] = {
        "name": "tiny",
        "dataset": {"name": "synthetic-fundus", "patients": 24, "size": 48, "labelled": 0.8},
        "images": {"size": 32, "crop": "fundus"},
        "backbone": {"name": "timm", "model": "test_resnet"},
        "pretext": {"name": "rotation"},
        "head": {"name": "dr-grade"},
        "pretraining": {"epochs": 2, "batch_size": 12, "learning_rate": 1e-3},
        "finetuning": {
            "updates": 6,
            "head_updates": 2,
            "batch_size": 8,
            "learning_rate": 1e-3,
            "evaluations": 3,
        },
        "evaluation": {"label_fractions": [0.3, 1.0], "folds": 2, "arms": ["pretrained", "scratch", "frozen", "knn"]},
        "compute": {"precision": "fp32"},
    }
    for key, value in changes.items():
        another_plugin = isinstance(value, dict) and "name" in value
        tables[key] = {**tables.get(key, {}), **value} if isinstance(value, dict) and not another_plugin else value
    return tables


def tiny_config(**changes: Any) -> RunConfig:
    return parse_config(tiny_tables(**changes), root=Path("/"))


def observed_config(**changes: Any) -> RunConfig:
    evaluation = {"arms": ["pretrained", "scratch"], **changes.pop("evaluation", {})}
    return tiny_config(**{"observers": ["tensorboard", "mlflow"], "evaluation": evaluation, **changes})


def save_backbone(weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Leave an encoder's weights in a folder, as a pretraining does."""
    save_file(dict(weights), folder / "backbone.safetensors")
    seal(folder, ["backbone.safetensors"])


def prepare_tiny(root: Path, plugins: Iterable[type[Plugin[Any]]] = (), **changes: Any) -> Prepared:
    """Return the jobs of a tiny study, its images decoded; ``plugins`` are known beside those that are installed."""
    root.mkdir(parents=True, exist_ok=True)
    study = resolve(tiny_config(**changes), sslkit.build_registry(extra=plugins))
    return prepare(
        study,
        RunDirectory(root),
        Compute("cpu", "fp32"),
        make_manifest(study),
        workers=1,
        context=process_context(study.modules()),
        observer=Silent(),
        warn=Silent().warned,
    )
