"""What a run would do, found out without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslkit.config import RunConfig
from sslkit.engine.precision import Compute
from sslkit.experiment.bench import Bench, job_seconds, kept_bench, known_peak
from sslkit.experiment.done_before import planned_jobs
from sslkit.experiment.forecast import Basis, Forecast, forecast
from sslkit.experiment.memory import workers_that_fit
from sslkit.experiment.plan import draw_splits, make_manifest
from sslkit.experiment.run_directory import check_directory, locate
from sslkit.experiment.run_times import run_seconds
from sslkit.experiment.study import resolve
from sslkit.registry import Registry


@dataclass(frozen=True)
class DryRun:
    """What a run would do.

    Attributes:
        output: its directory.
        num_images: images of the data set; whether each can be read shows only in a run.
        class_counts: labelled images of each class, by name.
        num_unlabelled: images without a label.
        num_groups: groups that stay on one side of a split.
        num_pretrainings: pretrainings.
        num_cells: cells.
        labels: for each share of the labels, how many there are in the first fold.
        compute: device and precision.
        workers: jobs at a time.
        missing_classes: folds and shares that lack a class, a sentence each.
        bench: what was measured of this configuration on this machine; None where nothing was.
        unknown: why it is not known which jobs are done already, so that all count as missing; empty where it is known.
        too_large: why fewer jobs than cores run at a time, for want of memory; empty where that is not so.
        forecast: the jobs in their order, and how long those that are missing take.
    """

    output: Path
    num_images: int
    class_counts: dict[str, int]
    num_unlabelled: int
    num_groups: int
    num_pretrainings: int
    num_cells: int
    labels: dict[float, int]
    compute: Compute
    workers: int
    missing_classes: list[str]
    bench: Bench | None
    unknown: str
    too_large: str
    forecast: Forecast


def plan_run(config: RunConfig, output: Path, registry: Registry) -> DryRun:
    """Check what can be checked without decoding an image, and count what a run would do.

    Raises:
        UsageError: if configuration, data or directory cannot be used.
    """
    study = resolve(config, registry)
    directory = locate(output)
    check_directory(directory, study.resolved())
    compute = study.resolve_compute()
    manifest = make_manifest(study)
    splits = draw_splits(study, manifest)
    names = study.make_head().class_names
    evaluation = config.evaluation
    counts = np.bincount(manifest.grades[manifest.labelled], minlength=len(names))
    jobs, unknown = planned_jobs(study, manifest, directory, compute)
    peak = known_peak(study, compute, jobs.pretrainings)
    workers, too_large = workers_that_fit(config.compute.workers, compute, peak)
    basis: Basis = "bench"
    seconds = job_seconds(study, compute, jobs.everything)
    if not seconds:
        basis, seconds = "run", run_seconds(jobs, directory, compute, workers)
    return DryRun(
        output=output,
        num_images=len(manifest),
        class_counts=dict(zip(names, counts.tolist(), strict=True)),
        num_unlabelled=int((~manifest.labelled).sum()),
        num_groups=len(manifest.group_names),
        num_pretrainings=len(jobs.pretrainings),
        num_cells=len(jobs.cells),
        labels={share: len(splits.labelled_rows(0, 0, share)) for share in evaluation.label_fractions},
        compute=compute,
        workers=workers,
        missing_classes=splits.missing_classes(names, evaluation.label_fractions),
        bench=kept_bench(study, compute),
        unknown=unknown,
        too_large=too_large,
        forecast=forecast(jobs, workers, seconds, basis),
    )
