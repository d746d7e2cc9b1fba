"""Times each stage of a run on a sample of its images, through the code that the run uses."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from sslkit.data.cache import build_cache
from sslkit.data.manifest import Manifest
from sslkit.engine.networks import build_encoder, build_network, call_with_seed, load_batch
from sslkit.engine.precision import Compute
from sslkit.engine.tasks import make_views, views_an_image
from sslkit.errors import DataError
from sslkit.experiment.cell import CellJob
from sslkit.experiment.environment import num_decoders, process_context
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.recipe import Configured, Recipe, task_context
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.stopwatch import time_updates
from sslkit.experiment.study import Study

_SAMPLE = 96
"""Images that are decoded to measure decoding."""

_ENDLESS = 1_000_000
"""Epochs or updates of a job that is stopped once it has been timed."""


def time_ingest(study: Study, manifest: Manifest, compute: Compute, folder: Path) -> tuple[Recipe, float]:
    """Decode a sample of the images; return what jobs on it share, and images a second with all cores."""
    places = np.linspace(0, len(manifest) - 1, min(_SAMPLE, len(manifest)), dtype=int)
    records = [manifest.records[place] for place in places]
    cores = num_decoders(study.config.compute.workers)
    context = process_context(study.modules())
    options: dict[str, Any] = {"workers": cores, "context": context}
    build_cache(study.make_dataset(), records[:1], study.preprocessing, root=folder / "warm", **options)
    started = time.perf_counter()
    cache = build_cache(study.make_dataset(), records, study.preprocessing, root=folder, **options)
    rate = len(records) / (time.perf_counter() - started)
    if len(cache.unreadable) == len(records):
        raise DataError(f"none of {len(records)} images can be read; 'sslkit doctor' tells why")
    return (
        Recipe(
            directory=RunDirectory(folder / "run"),
            seed=study.config.seed,
            backbone=study.backbone,
            head=study.head,
            preprocessing=study.preprocessing,
            cache=cache,
            # Timing needs a grade for every image of the sample; which one does not matter.
            grades=manifest.grades[places].clip(min=0),
            ids=tuple(record.id for record in records),
            groups=tuple(record.id for record in records),
            pretraining=study.config.pretraining,
            finetuning=study.config.finetuning,
            compute=compute,
            processes=study.processes,
            sync_batchnorm=study.config.compute.sync_batchnorm,
        ),
        rate,
    )


def time_pretraining(study: Study, recipe: Recipe, workers: int, seconds: float) -> dict[str, float]:
    """Return views a second of all workers together, views an image, share of time for data, startup, peak memory."""
    settings = recipe.pretraining.model_copy(update={"epochs": _ENDLESS, "probe_every": 0, "keep": "last"})
    task: Configured = study.tasks[0]
    rows = _readable(recipe, 2 * settings.batch_size)  # two updates an epoch, so that soon one is logged
    at_once = max(1, workers // recipe.processes)
    jobs = []
    for number in range(at_once):
        own = _make_directory(recipe, str(number))
        job = PretrainingJob(replace(recipe, directory=own, pretraining=settings), task, number, rows, rows[:0])
        jobs.append(job)
    timing = time_updates(study.executor.make(), jobs, workers, seconds)
    lines = [json.loads(line) for job in jobs for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    per_image = _views_per_image(study, task, recipe)
    return {
        "views_per_s": timing.updates_per_s * at_once * settings.batch_size * per_image,
        "views_per_image": per_image,
        "startup_s": timing.startup_s,
        "peak_memory": max(line["peak_memory"] for line in lines),
        "data_time_share": sum(line["data_seconds"] for line in lines) / sum(line["seconds"] for line in lines),
    }


def _views_per_image(study: Study, task: Configured, recipe: Recipe) -> float:
    backbone = study.backbone.make()
    context = task_context(backbone, recipe.preprocessing)
    images = load_batch(recipe.cache.open(), _readable(recipe, 8))
    made = call_with_seed(0, lambda: task.make_task(build_network(backbone), context))
    views = make_views(made, images, torch.Generator())
    return views_an_image(views, len(images))


def time_cells(
    study: Study, recipe: Recipe, cells: Sequence[CellJob], workers: int, seconds: float
) -> tuple[float, float]:
    """Return the seconds of an update of the whole network, and images a second through a forward pass, of a worker."""
    own = recipe.finetuning
    whole = own.model_copy(update={"updates": _ENDLESS, "head_updates": 0, "evaluations": 1})
    rows = _readable(recipe, max(own.batch_size, 2))
    cell = replace(cells[0], task=None, arm="scratch", weights=None, after=(), keep_model=False)
    jobs = []
    for number in range(workers):
        own_recipe = replace(recipe, finetuning=whole, directory=_make_directory(recipe, f"cells{number}"))
        jobs.append(replace(cell, recipe=own_recipe, fold=number, training_rows=rows, test_rows=rows[:2]))
    update = 1 / time_updates(study.executor.make(), jobs, workers, seconds).updates_per_s
    encoder = build_encoder(study.backbone.make(), recipe.compute).eval()
    images = load_batch(recipe.cache.open(), _readable(recipe, 64)).to(recipe.compute.device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if recipe.compute.device == "cpu" else threads)
    try:
        rates: list[float] = []
        begun = time.perf_counter()
        while len(rates) < 2 or time.perf_counter() - begun < seconds / 2:
            started = time.perf_counter()
            with torch.inference_mode():
                encoder(images).cpu()
            rates.append(len(images) / (time.perf_counter() - started))
    finally:
        torch.set_num_threads(threads)
    return update, statistics.median(rates[1:])


def time_prediction(study: Study, manifest: Manifest, recipe: Recipe, seconds: float) -> float:
    """Return images a second, read from files, with as many models as there are folds."""
    encoders = [build_encoder(study.backbone.make(), recipe.compute) for _ in range(study.config.evaluation.folds)]
    heads = [study.make_head(encoder.backbone.head_hidden_size) for encoder in encoders]  # type: ignore[arg-type]
    models = [(encoder, head.to(recipe.compute.device)) for encoder, head in zip(encoders, heads, strict=True)]
    predictor = Predictor(study.preprocessing, models, study.make_head(), recipe.compute)
    paths = _files(study, manifest, recipe)
    graded, started = 0, time.perf_counter()
    while graded == 0 or time.perf_counter() - started < seconds / 2:
        graded += sum(1 for _ in predictor.predict(paths))
    return graded / (time.perf_counter() - started)


def _files(study: Study, manifest: Manifest, recipe: Recipe) -> list[Path]:
    """Return files of the sample; images that are no files are written as such."""
    dataset = study.make_dataset()
    wanted = {name for row, name in enumerate(recipe.ids) if row not in recipe.cache.unreadable}
    records = [record for record in manifest.records if record.id in wanted][:32]
    paths = []
    for number, record in enumerate(records):
        content = dataset.read(record)
        path = recipe.directory.root / f"{number}.image"
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path, "PNG")
        paths.append(path)
    return paths


def _make_directory(recipe: Recipe, name: str) -> RunDirectory:
    """Return a run directory for one job of its own."""
    directory = RunDirectory(recipe.directory.root / name)
    directory.root.mkdir(parents=True)
    return directory


def _readable(recipe: Recipe, count: int) -> npt.NDArray[np.int64]:
    """Return ``count`` rows of the sample that could be read, some of them again where there are fewer."""
    rows = np.array([row for row in range(len(recipe.ids)) if row not in recipe.cache.unreadable])
    return np.resize(rows, count)
