"""Measures each stage of a run on this machine and these images, through the code that the run uses."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sslkit.config import RunConfig
from sslkit.data.cache_root import default_cache_root, local_root
from sslkit.data.manifest import Manifest
from sslkit.engine.networks import build_network, call_with_seed
from sslkit.engine.precision import Compute
from sslkit.experiment.cell import FROZEN_ARMS, CellJob
from sslkit.experiment.environment import hardware
from sslkit.experiment.features import FeaturesJob
from sslkit.experiment.memory import peak_of_logs, workers_that_fit
from sslkit.experiment.plan import draw_splits, make_jobs, make_manifest
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.recipe import Recipe, digest, versions
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.schedule import makespan
from sslkit.experiment.stages import time_cells, time_ingest, time_prediction, time_pretraining
from sslkit.experiment.study import Study, resolve
from sslkit.files import make_folder, write_json
from sslkit.interfaces import Job
from sslkit.registry import Registry

_HASTE = 2.0
"""Seconds for each stage where nobody asked for a measurement but for an estimate."""

_MANY_PIXELS = 1_000_000
"""Of the images of a batch, beyond which a job is tried alone first, lest several take more memory than there is."""

_STARTUP = 0.3
"""Seconds from the start of a job to its first update, where processes are forked."""


@dataclass(frozen=True)
class Bench:
    """What was measured, and what a whole run will take; times in seconds but for ``hours``.

    Attributes:
        ingest: ``images_per_s``.
        pretraining: ``views_per_s`` of all workers together, ``views_per_image``, ``data_time_share`` of the time of
            an epoch, ``startup_s`` that the first update takes more than another, ``peak_memory`` of a job in bytes;
            empty where nothing is pretrained.
        cells: ``per_hour``, of all workers together; ``updates_per_s`` and ``features_per_s`` of one.
        predict: ``images_per_s``, decoding included, with the models of all folds.
        estimate: ``hours`` in all and of each stage, ``disk_gib``, ``jobs``, ``pretrainings`` and ``cells``
            among them, and ``workers``.
        hardware: what it was measured on.
        compiled: ``views_per_s`` and ``startup_s`` of pretraining under ``compute.compile``, and ``hours`` of the whole
            run with it; empty where that was not measured.
    """

    ingest: dict[str, float]
    pretraining: dict[str, float]
    cells: dict[str, float]
    predict: dict[str, float]
    estimate: dict[str, float]
    hardware: dict[str, Any]
    compiled: dict[str, float]


@dataclass(frozen=True)
class _Length:
    """The seconds of a job, by what was measured: of pretraining, of an update of a cell, images a second forward."""

    pretraining: dict[str, float]
    update: float
    features: float
    workers: int

    def __call__(self, job: Job) -> float:
        if isinstance(job, PretrainingJob):
            views = job.recipe.pretraining.epochs * len(job.rows) * self.pretraining["views_per_image"]
            at_once = max(1, self.workers // job.processes)
            return self.pretraining["startup_s"] + views * at_once / self.pretraining["views_per_s"]
        if isinstance(job, FeaturesJob):
            return _STARTUP + len(job.rows) / self.features
        assert isinstance(job, CellJob), "a run has no other jobs"
        return _STARTUP + job.forward_images / self.features + job.whole_updates * self.update


def measure_run(
    config: RunConfig,
    registry: Registry,
    seconds: float = 10.0,
    told: Callable[[str], None] = lambda stage: None,
    *,
    compiled: bool = False,
) -> Bench:
    """Measure every stage for about so many seconds, and keep the answer for later.

    Args:
        config: the run to be measured.
        registry: the installed plugins.
        seconds: for each stage.
        told: called with each stage as it begins.
        compiled: whether pretraining is timed under ``compute.compile`` as well, which takes minutes.

    Raises:
        UsageError: if configuration or data cannot be used.
        RunError: if a job fails.
    """
    study = resolve(config, registry)
    compute = study.resolve_compute()
    workers, _ = workers_that_fit(config.compute.workers, compute, None)
    manifest = make_manifest(study)
    splits = draw_splits(study, manifest)
    with tempfile.TemporaryDirectory(prefix="sslkit-bench-") as folder:
        told("ingest")
        recipe, ingest_rate = time_ingest(study, manifest, compute, Path(folder))
        jobs = make_jobs(study, _whole(recipe, manifest), manifest, splits)
        told("pretraining")
        if jobs.pretrainings and workers > 1 and config.pretraining.batch_size * config.images.size**2 > _MANY_PIXELS:
            alone = replace(recipe, directory=RunDirectory(Path(folder) / "alone"))
            peak = round(time_pretraining(study, alone, 1, 0.0)["peak_memory"])
            workers, _ = workers_that_fit(config.compute.workers, compute, peak)
        pretraining = time_pretraining(study, recipe, workers, seconds) if jobs.pretrainings else {}
        under_compile = {}
        if compiled and jobs.pretrainings and not compute.compile:
            told("pretraining, compiled")
            compiling = replace(recipe, compute=replace(compute, compile=True))
            under_compile = time_pretraining(study, compiling, workers, seconds)
        told("cells")
        update, features = time_cells(study, recipe, jobs.cells, workers, seconds)
        told("predict")
        predict_rate = time_prediction(study, manifest, recipe, seconds)

    length = _Length(pretraining, update, features, workers)
    everything: list[Job] = [*jobs.pretrainings, *jobs.features, *jobs.cells]
    trained = [cell for cell in jobs.cells if cell.arm not in FROZEN_ARMS] or jobs.cells
    mean_cell = statistics.fmean(map(length, trained))
    ingest_hours = len(manifest) / ingest_rate / 3600
    job_hours = makespan(everything, workers, length) / 3600
    found = Bench(
        ingest={"images_per_s": ingest_rate},
        pretraining=pretraining,
        cells={"per_hour": workers * 3600 / mean_cell, "updates_per_s": 1 / update, "features_per_s": features},
        predict={"images_per_s": predict_rate},
        estimate={
            "hours": ingest_hours + job_hours,
            "ingest_hours": ingest_hours,
            "jobs_hours": job_hours,
            "disk_gib": _disk_gib(study, manifest, jobs.pretrainings, jobs.cells),
            "jobs": len(everything),
            "pretrainings": len(jobs.pretrainings),
            "cells": len(jobs.cells),
            "workers": workers,
        },
        hardware=hardware(compute),
        compiled={
            "views_per_s": under_compile["views_per_s"],
            "startup_s": under_compile["startup_s"],
            "hours": ingest_hours + makespan(everything, workers, replace(length, pretraining=under_compile)) / 3600,
        }
        if under_compile
        else {},
    )
    path = _kept_path(study, compute)
    make_folder(path.parent)
    write_json(path, {"images": len(manifest), **asdict(found)})
    return found


def estimate_run(config: RunConfig, registry: Registry) -> Bench:
    """Return what was last measured of a configuration on this machine, or measure it in haste.

    Raises:
        UsageError: if configuration or data cannot be used.
        RunError: if a job fails.
    """
    study = resolve(config, registry)
    return kept_bench(study, study.resolve_compute()) or measure_run(config, registry, seconds=_HASTE)


def kept_bench(study: Study, compute: Compute) -> Bench | None:
    """Return what was last measured of a configuration on this machine; None where nothing was."""
    path = _kept_path(study, compute)
    if not path.exists():
        return None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Bench(**{name: kept[name] for name in Bench.__annotations__})
    except (ValueError, KeyError, TypeError):  # damaged: it is measured anew
        return None


def known_peak(study: Study, compute: Compute, pretrainings: Iterable[PretrainingJob]) -> int | None:
    """Return the most bytes that a pretraining has held, as measured of the configuration or of the run's own epochs.

    Args:
        study: whose jobs they are.
        compute: what they compute on.
        pretrainings: of that study.
    """
    bench = kept_bench(study, compute)
    measured = 0 if bench is None else round(bench.pretraining.get("peak_memory", 0))
    return max(measured, peak_of_logs(job.log for job in pretrainings) or 0) or None


def job_seconds(study: Study, compute: Compute, jobs: Iterable[Job]) -> dict[str, float]:
    """Return how long each job takes by what was last measured of the configuration on this machine, if anything was.

    Args:
        study: whose jobs they are.
        compute: what they compute on.
        jobs: of that study.

    Returns:
        Seconds by the id of the job; empty where nothing was measured.
    """
    bench = kept_bench(study, compute)
    if bench is None:
        return {}
    cells = bench.cells
    try:
        workers = round(bench.estimate["workers"])
        length = _Length(bench.pretraining, 1 / cells["updates_per_s"], cells["features_per_s"], workers)
        return {job.id: length(job) for job in jobs}
    except (KeyError, TypeError, ZeroDivisionError):  # what was kept is of another form: it is as if nothing were
        return {}


def _kept_path(study: Study, compute: Compute) -> Path:
    tables = {key: value for key, value in study.resolved().items() if key not in ("name", "seed", "card", "report")}
    root = local_root(study.config.images.cache or default_cache_root())
    fields = list(Bench.__annotations__)
    return root / "bench" / f"{digest([tables, fields, versions(), hardware(compute)])}.json"


def _whole(recipe: Recipe, manifest: Manifest) -> Recipe:
    """Return a recipe for the run's own jobs, which are counted and not carried out."""
    ids = tuple(record.id for record in manifest.records)
    return replace(recipe, grades=manifest.grades, ids=ids, groups=ids)


def _disk_gib(
    study: Study, manifest: Manifest, pretrainings: Sequence[PretrainingJob], cells: Sequence[CellJob]
) -> float:
    """Return what cache and run directory take: images, weights (checkpoints are three times as large), models."""
    network = call_with_seed(0, partial(build_network, study.backbone.make()))
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    images = len(manifest) * study.config.images.size**2 * 3
    kept = sum(cell.keeps_model for cell in cells)
    return float(images + weights * (4 * len(pretrainings) + kept)) / 2**30
