"""One function a row of the table: each returns ratios, one a round, of what was measured in that round."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from process_memory import memory as held_by
from sklearn.metrics import cohen_kappa_score
from yardsticks import bare_updates, decode_with_pillow, plain_updates, rate_of

import sslkit
from sslkit import Job, PluginConfig
from sslkit.config import parse_config
from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.precision import Compute, resolve_compute
from sslkit.experiment.environment import available_cores, process_context
from sslkit.experiment.observation import Silent
from sslkit.experiment.plan import make_manifest
from sslkit.experiment.preparation import Prepared, prepare
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.stopwatch import time_updates
from sslkit.experiment.study import resolve
from sslkit.metrics import quadratic_weighted_kappa
from sslkit_local import Local

CORES = available_cores()

SECONDS = 10.0
"""How long a rate is measured."""


def config_of(size: int, **tables: Any) -> Any:
    """Return a study of synthetic photographs at a size, on DenseNet121."""
    defaults: dict[str, Any] = {
        "dataset": {"name": "synthetic-fundus", "patients": 60, "size": 256},
        "images": {"size": size, "crop": "fundus"},
        "backbone": {"name": "densenet121"},
        "pretext": {"name": "rotation"},
        "head": {"name": "dr-grade"},
        "pretraining": {"epochs": 1, "batch_size": 16},
        "finetuning": {"updates": 12, "head_updates": 2, "batch_size": 16, "evaluations": 1},
        "evaluation": {"folds": 5, "label_fractions": [1.0]},
    }
    changed = {key: {**defaults.get(key, {}), **tables.get(key, {})} for key in (*defaults, *tables)}
    return parse_config(changed, root=Path.cwd())


def prepared_of(config: Any, folder: Path) -> Prepared:
    """Return the jobs of a study, its images decoded."""
    study = resolve(config, sslkit.build_registry())
    context = process_context(study.modules())
    return prepare(
        study, RunDirectory(folder), study.resolve_compute(), make_manifest(study), CORES, context, Silent(), print
    )


class _EnoughError(Exception):
    """The job was timed for long enough."""


def job_rate(job: Job, images: int, seconds: float, warm: int = 2) -> float:
    """Return the images a second of a job in this process, which is then broken off."""
    times: list[float] = []

    def report(values: Mapping[str, Any]) -> None:
        if "done" in values:
            times.append(time.perf_counter())
            if len(times) > warm + 1 and times[-1] - times[warm] > seconds:
                raise _EnoughError

    with contextlib.suppress(_EnoughError):
        job.execute(report)
    return images * (len(times) - 1 - warm) / (times[-1] - times[warm])


def rotation_rate(precision: str, seconds: float, compile_network: bool = False) -> float:
    """Return our views a second of rotation pretraining: 112 px, 64 views a batch, one process, all cores."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_of(112, pretraining={"epochs": 100_000})
        job = prepared_of(config, Path(folder)).jobs.pretrainings[0]
        compute = Compute("cpu", precision, compile_network)  # type: ignore[arg-type]
        return job_rate(replace(job, recipe=replace(job.recipe, compute=compute)), 64, seconds)


def against_bare(rounds: int) -> list[float]:
    """Rotation pretraining against the bare network, in the same precision."""
    precision = resolve_compute("cpu", "auto", False).precision
    updates = bare_updates(112, 64, precision)
    return [rotation_rate(precision, SECONDS) / rate_of(updates, SECONDS) for _ in range(rounds)]


def against_plain(rounds: int) -> list[float]:
    """Rotation pretraining against a DataLoader and fp32, on 640 JPEGs of 574 x 384."""
    precision = resolve_compute("cpu", "auto", False).precision
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photographs(Path(folder), 64, 574, 384) * 10  # starting an epoch must not weigh more than it does
        updates = plain_updates(paths, 112, 16)
        return [rotation_rate(precision, SECONDS) / rate_of(updates, SECONDS) for _ in range(rounds)]


def with_compile(rounds: int) -> list[float]:
    """Rotation pretraining with torch.compile against without, after compiling."""
    precision = resolve_compute("cpu", "auto", False).precision
    ratios = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder  # nothing compiled before is found
            seconds, compiled = _timed(lambda: rotation_rate(precision, SECONDS, compile_network=True))
        print(f"    compiled in {seconds - SECONDS:.0f} s", flush=True)
        ratios.append(compiled / rotation_rate(precision, SECONDS))
    return ratios


class _Quiet:
    def started(self, job: Job) -> None: ...
    def progressed(self, job: Job, values: Mapping[str, Any]) -> None: ...
    def finished(self, job: Job) -> None: ...
    def failed(self, job: Job, reason: str) -> None:
        raise RuntimeError(reason)


def _executor_gain(choose: Callable[[Prepared], Sequence[Job]], rounds: int, **tables: Any) -> list[float]:
    """Jobs through the local executor against the same one after another in this process with all threads."""
    ratios = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            jobs = [choose(prepared_of(config_of(64, **tables), Path(folder) / name)) for name in "ab"]
            context = multiprocessing.get_context("forkserver")
            warm = context.Process(target=int)  # the server is running already when a run comes to its jobs
            warm.start()
            warm.join()
            started = time.perf_counter()
            Local(PluginConfig()).run(jobs[0], CORES, _Quiet())
            through_executor = time.perf_counter() - started
            started = time.perf_counter()
            for job in jobs[1]:
                job.execute(lambda values: None)
            ratios.append((time.perf_counter() - started) / through_executor)
    return ratios


def _print_limit(choose: Callable[[Prepared], Sequence[Job]], **tables: Any) -> None:
    """Print what no schedule can gain more than: the updates of one-thread processes against all threads on one."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = choose(prepared_of(config_of(64, **tables), Path(folder) / "beside"))[:CORES]
        alone = choose(prepared_of(config_of(64, **tables), Path(folder) / "alone"))[0]
        beside = CORES * time_updates(Local(PluginConfig()), jobs, CORES, SECONDS).updates_per_s
        print(
            f"    {CORES} processes in one thread each do {beside / job_rate(alone, 1, SECONDS):.2f} times the updates"
        )


def pretrainings(rounds: int) -> list[float]:
    """Five pretrainings at 64 px through the local executor, against one after another."""
    _print_limit(lambda prepared: prepared.jobs.pretrainings, pretraining={"epochs": 100_000})
    return _executor_gain(lambda prepared: prepared.jobs.pretrainings, rounds, pretraining={"epochs": 8})


def cells(rounds: int) -> list[float]:
    """Ten cells from scratch at 64 px through the local executor, against one after another."""
    evaluation = {"arms": ["scratch"], "label_fractions": [0.5, 1.0]}
    budget = {"updates": 60, "head_updates": 10}
    endless = {"updates": 1_000_000, "head_updates": 0}
    _print_limit(lambda prepared: prepared.jobs.cells, evaluation=evaluation, finetuning=endless)
    return _executor_gain(lambda prepared: prepared.jobs.cells, rounds, evaluation=evaluation, finetuning=budget)


def ingest(rounds: int) -> list[float]:
    """Ingest of 3872 x 2592 JPEGs to 224 px, against Pillow's whole decode and resize, in one process."""
    preprocessing = Preprocessing(224, "fundus")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photographs(Path(folder), 6, 3872, 2592)

        def ours() -> None:
            for path in paths:
                preprocessing.look(path.read_bytes())

        def pillow() -> None:
            for path in paths:
                decode_with_pillow(path, 224)

        return [_seconds(pillow) / _seconds(ours) for _ in range(rounds)]


def data_share(rounds: int) -> list[float]:
    """The share of a pretraining's time that data take, in per cent."""
    found = [sslkit.bench(config_of(112), seconds=8) for _ in range(rounds)]
    return [100 * entry.pretraining["data_time_share"] for entry in found]


def kappa(rounds: int) -> list[float]:
    """QWK of a million rows, against scikit-learn."""
    rng = np.random.default_rng(0)
    targets, predictions = rng.integers(0, 5, (2, 1_000_000))

    def theirs() -> None:
        cohen_kappa_score(targets, predictions, labels=range(5), weights="quadratic")

    return [
        _seconds(theirs) / _seconds(lambda: quadratic_weighted_kappa(targets, predictions, 5)) for _ in range(rounds)
    ]


def start(rounds: int) -> list[float]:
    """``sslkit --help``, against ``python -c "import click, rich"``."""
    script = Path(sys.executable).with_name("sslkit")

    def call(*command: str) -> float:
        return min(_seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(5))

    return [call(str(script), "--help") / call(sys.executable, "-c", "import click, rich") for _ in range(rounds)]


def prediction(rounds: int) -> list[float]:
    """Prediction of 500 JPEGs of 574 x 384 at 224 px, against the forward passes of its network alone."""
    from sslkit.engine.networks import build_encoder
    from sslkit.engine.precision import keep_freed_memory
    from sslkit.experiment.prediction import Predictor

    keep_freed_memory()  # as the command does; the bare network gains by it as well
    compute = resolve_compute("cpu", "auto", False)
    study = resolve(config_of(224), sslkit.build_registry())
    encoder = build_encoder(study.backbone.make(), compute)
    models = [(encoder, study.make_head(encoder.backbone.head_hidden_size))]
    predictor = Predictor(study.preprocessing, models, study.make_head(), compute)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_photographs(Path(folder), 100, 574, 384) * 5
        batch = torch.randint(0, 256, (32, 3, 224, 224), dtype=torch.uint8).to(memory_format=torch.channels_last)
        images = torch.rand(32, 3, 224, 224).to(memory_format=torch.channels_last)
        encoder(batch)

        def bare() -> None:
            network: Any = encoder.backbone.eval()
            with torch.inference_mode(), compute.autocast():
                for _ in range(0, len(paths), len(images)):
                    network.forward_head(network.forward_features(images), pre_logits=True)

        return [_seconds(bare) / _seconds(lambda: list(predictor.predict(paths))) for _ in range(rounds)]


def memory(rounds: int) -> list[float]:
    """Peak private memory of a run over 20,000 images of 224 px above that over 2,000, in MB."""
    found = []
    for _ in range(rounds):
        peaks = []
        for count in (2_000, 20_000):
            with tempfile.TemporaryDirectory() as folder:
                write_noise(Path(folder) / "images", count)
                peaks.append(_peak_of_run(Path(folder)))
        found.append((peaks[1] - peaks[0]) / 1e6)
    return found


def _peak_of_run(folder: Path) -> float:
    options = {
        "backbone.model": "test_mambaout",
        "pretraining.epochs": 1,
        "finetuning.updates": 4,
        "finetuning.head_updates": 1,
        "finetuning.evaluations": 1,
        "evaluation.folds": 2,
        "evaluation.arms": "['pretrained']",
        "evaluation.label_fractions": [1.0],
    }
    config = folder / "study.toml"
    config.write_text(
        '[dataset]\nname = "csv"\ntable = "images/labels.csv"\nlabel_column = "grade"\n[images]\nsize = 224\n'
        '[backbone]\nname = "timm"\nmodel = "test_mambaout"\n[pretext]\nname = "rotation"\nturns = "one"\n'
        '[head]\nname = "dr-grade"\n'
    )
    command = [str(Path(sys.executable).with_name("sslkit")), "run", str(config), "--output", str(folder / "run")]
    for key, value in options.items():
        command += ["--set", f"{key}={value}"]
    environment = {**os.environ, "SSLKIT_CACHE": str(folder / "cache")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(held_by("RssAnon", pid) for pid in _family(process.pid)))
        time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(process.stderr.read().decode() if process.stderr else "")
    return float(peak)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in _family(int(child)))]


def _seconds(work: Callable[[], object]) -> float:
    return _timed(work)[0]


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def write_photographs(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """Write JPEGs of computed retinas with a photograph's noise."""
    from sslkit_fundus import render

    paths = []
    for number in range(count):
        side = min(width, height)
        retina = Image.fromarray(render(0, number, "L", number % 5, 256)).resize((side, side))
        pixels = np.zeros((height, width, 3), np.uint8)
        left = (width - side) // 2
        pixels[(height - side) // 2 :, left : left + side][:side] = retina
        noise = np.random.default_rng(number).normal(0, 4, pixels.shape)
        path = folder / f"{number:04}.jpg"
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(path, quality=92)
        paths.append(path)
    return paths


def write_noise(folder: Path, count: int) -> None:
    """Write small JPEGs, no two alike, and a table of grades."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["image,grade"]
    for number in range(count):
        blocks = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((224, 224)).save(folder / f"{number:05}.jpg", quality=80)
        lines.append(f"{number:05}.jpg,{number % 5}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def spread(ratios: Sequence[float]) -> str:
    """Return the median and the range of ratios."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
