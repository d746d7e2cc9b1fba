"""What a run would do, found out without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sslkit.config import RunConfig
from sslkit.engine.precision import Compute
from sslkit.experiment.bench import Bench, kept_bench
from sslkit.experiment.environment import num_workers
from sslkit.experiment.plan import cell_coordinates, draw_splits, make_manifest, pretraining_folds
from sslkit.experiment.run_directory import check_directory, locate
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


def plan_run(config: RunConfig, output: Path, registry: Registry) -> DryRun:
    """Check what can be checked without decoding an image, and count what a run would do.

    Raises:
        UsageError: if configuration, data or directory cannot be used.
    """
    study = resolve(config, registry)
    check_directory(locate(output), study.resolved())
    compute = study.resolve_compute()
    manifest = make_manifest(study)
    splits = draw_splits(study, manifest)
    names = study.make_head().class_names
    evaluation = config.evaluation
    counts = np.bincount(manifest.grades[manifest.labelled], minlength=len(names))
    return DryRun(
        output=output,
        num_images=len(manifest),
        class_counts=dict(zip(names, counts.tolist(), strict=True)),
        num_unlabelled=int((~manifest.labelled).sum()),
        num_groups=len(manifest.group_names),
        num_pretrainings=len(study.tasks) * len(pretraining_folds(study)),
        num_cells=sum(1 for _ in cell_coordinates(study)),
        labels={share: len(splits.labelled_rows(0, 0, share)) for share in evaluation.label_fractions},
        compute=compute,
        workers=num_workers(config.compute.workers, compute),
        missing_classes=splits.missing_classes(names, evaluation.label_fractions),
        bench=kept_bench(study, compute),
    )
