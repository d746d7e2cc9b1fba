"""Pretrainings in double precision, carried out by several processes."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from several_processes import in_processes
from studies import prepare_tiny
from torch import nn

from sslkit import Plugin, PretextTask, StepOutput, Views
from sslkit.experiment import pretraining
from sslkit.experiment.pretraining import PretrainingJob

BATCH = 16

# The largest difference that rounding explains. A gradient that is zero but for rounding, as that of a bias before
# BatchNorm, is some 1e-16; Adam divides it by the root of its own square, or by eps = 1e-8 where that is larger: so a
# weight moves by lr * 1e-16 / 1e-8 = 1e-11 at an update, in a direction that is chance. The sums of Barlow Twins over
# all pairs of features lose a digit or two more.
ROUNDING = 1e-9


def job_of(
    root: Path,
    task: Mapping[str, Any],
    model: str = "test_resnet",
    plugins: Iterable[type[Plugin[Any]]] = (),
    compute: Mapping[str, Any] | None = None,
    **pretraining: Any,
) -> PretrainingJob:
    """Return a pretraining of two epochs of two updates, on images of 64 pixels, which every task can take."""
    settings = {"epochs": 2, "batch_size": BATCH, "learning_rate": 1e-3, **pretraining}
    dataset = {"name": "synthetic-fundus", "patients": 36, "size": 64, "labelled": 0.8}
    options = {"options": {"img_size": 64}} if "vit" in model else {}
    changes: dict[str, Any] = {
        "dataset": dataset,
        "images": {"size": 64},
        "backbone": {"name": "timm", "model": model, **options},
        "pretext": dict(task),
        "pretraining": settings,
        "compute": {**(compute or {})},
    }
    return prepare_tiny(root, plugins, **changes).jobs.pretrainings[0]


def with_processes(job: PretrainingJob, count: int, folder: Path, **recipe: Any) -> PretrainingJob:
    """Return a pretraining of so many processes, in a directory of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    directory = replace(job.recipe.directory, root=folder)
    return replace(job, recipe=replace(job.recipe, processes=count, directory=directory, **recipe))


def results_of(
    jobs: Mapping[str, PretrainingJob], count: int, folder: Path, until: int | None = None, **recipe: Any
) -> dict[str, Any]:
    """Return the log, and the task's state in each process, of pretrainings in double precision.

    They go on from what is in the folder, and are stopped after the update ``until``.
    """
    own = {name: with_processes(job, count, folder / name, **recipe) for name, job in jobs.items()}
    joining = Path(tempfile.mkdtemp(dir=folder))
    ranks = in_processes(_execute_all, count, joining, own, until)
    return {name: [rank[name] for rank in ranks] for name in jobs}


def _execute_all(rank: int, jobs: Mapping[str, PretrainingJob], until: int | None) -> dict[str, Any]:
    return {name: _execute(job, until) for name, job in jobs.items()}


def _execute(job: PretrainingJob, until: int | None) -> dict[str, Any]:
    trained: list[PretextTask[Any]] = []

    narrow = torch.Tensor.float

    class InDouble(pretraining.PretrainingLoop):
        def _make_task(self) -> PretextTask[Any]:
            task = super()._make_task().double()
            for module in task.modules():
                if next(module.children(), None) is None:
                    module.register_forward_pre_hook(_widen)
            trained.append(task)
            return task

        def _step(self, update: int) -> StepOutput:
            torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]  # losses leave half precision so
            try:
                return super()._step(update)
            finally:
                torch.Tensor.float = narrow  # type: ignore[method-assign]

        def _views(self, update: int) -> Views:
            torch.Tensor.float = narrow  # type: ignore[method-assign]
            try:
                return super()._views(update)
            finally:
                torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]

    pretraining.PretrainingLoop = InDouble  # type: ignore[misc]
    updates: list[int] = []

    def report(values: Mapping[str, Any]) -> None:
        if "done" in values:
            updates.append(values["done"])
            if values["done"] == until:
                raise SystemExit

    with contextlib.suppress(SystemExit):
        job.execute(report)
    text = job.log.read_text() if job.log.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    untold = ("seconds", "data_seconds", "peak_memory", "processes")
    log = [{key: value for key, value in line.items() if key not in untold} for line in lines]
    return {
        "log": log,
        "updates": updates,
        "state": {name: value.clone() for name, value in trained[0].state_dict().items()},
    }


def _widen(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    def wide(value: Any) -> Any:
        return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    return tuple(wide(value) for value in arguments)


def difference(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> float:
    """Return the largest difference between two states."""
    assert first.keys() == second.keys()
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


def log_difference(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, float]:
    """Return the largest difference between two logs, by key."""
    assert len(first) == len(second)
    return {key: max(abs(a[key] - b[key]) for a, b in zip(first, second, strict=True)) for key in first[0]}
