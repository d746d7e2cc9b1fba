"""From a configuration to the jobs of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from sslkit.checksums import SUMS
from sslkit.data.cache import ImageCache
from sslkit.data.manifest import Manifest, read_manifest
from sslkit.data.splits import Splits, make_splits
from sslkit.engine.heads import grade_of
from sslkit.engine.precision import Compute
from sslkit.experiment.cell import FROZEN_ARMS, PRETRAINED_ARMS, CellJob
from sslkit.experiment.features import FeaturesJob
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.recipe import Configured, Recipe
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import Study
from sslkit.interfaces import Job


def make_manifest(study: Study) -> Manifest:
    """List the images of a study."""
    head = study.make_head()
    return read_manifest(study.make_dataset(), partial(grade_of, head), head.class_names)


def draw_splits(study: Study, manifest: Manifest) -> Splits:
    """Draw the folds and orders of labels of a study."""
    evaluation = study.config.evaluation
    return make_splits(
        manifest,
        num_classes=study.make_head().num_classes,
        folds=evaluation.folds,
        repetitions=evaluation.repetitions,
        seed=study.config.seed,
    )


def pretraining_folds(study: Study) -> Sequence[int | None]:
    """Return the folds that are pretrained for; [None] is one pretraining on all images."""
    config = study.config
    if not PRETRAINED_ARMS.intersection(config.evaluation.arms):
        return []
    return [None] if config.pretraining.images == "all" else list(range(config.evaluation.folds))


def cell_coordinates(study: Study) -> Iterator[tuple[str, Configured | None, float, int, int]]:
    """Yield arm, pretext task, share of the labels, fold and repetition of each cell, in the order of results.csv."""
    evaluation = study.config.evaluation
    for arm in evaluation.arms:
        for task in study.tasks if arm in PRETRAINED_ARMS else (None,):
            for fraction in evaluation.label_fractions:
                for fold in range(evaluation.folds):
                    for repetition in range(evaluation.repetitions):
                        yield arm, task, fraction, fold, repetition


@dataclass(frozen=True)
class Jobs:
    """The jobs of a run.

    Attributes:
        pretrainings: one a pretext task and fold.
        features: one a pretraining whose encoder an arm keeps frozen.
        cells: in the order of results.csv.
    """

    pretrainings: list[PretrainingJob]
    features: list[FeaturesJob]
    cells: list[CellJob]

    @property
    def everything(self) -> list[Job]:
        """All of them, each behind those it waits for."""
        return [*self.pretrainings, *self.features, *self.cells]

    def missing(self) -> list[Job]:
        """Return the jobs that are still to be done, each behind those it waits for."""
        missing: list[Job] = [cell for cell in self.cells if not cell.done]
        for earlier in (self.features, self.pretrainings):
            needed = {name for job in missing for name in job.after}
            missing = [*(job for job in earlier if job.id in needed and not job.done), *missing]
        return missing

    def flaws(self) -> list[tuple[Job, str]]:
        """Return the jobs that were done whose files are no more what they were, and what is wrong with them."""
        finished: list[PretrainingJob | CellJob] = [job for job in self.pretrainings if (job.folder / SUMS).exists()]
        finished += [cell for cell in self.cells if cell.folder.exists()]
        return [(job, "; ".join(found)) for job in finished if (found := job.flaws())]


def make_recipe(
    study: Study,
    manifest: Manifest,
    readable: Manifest,
    cache: ImageCache,
    directory: RunDirectory,
    compute: Compute,
) -> Recipe:
    """Return what all jobs of a study share.

    Args:
        study: what to run.
        manifest: all its images.
        readable: those that can be read, duplicates joined into one group.
        cache: the decoded images.
        directory: where the run is.
        compute: device and precision.
    """
    config = study.config
    groups = [manifest.group_names[group] for group in manifest.groups]
    for row, group in zip(readable.rows, readable.groups, strict=True):
        groups[row] = readable.group_names[group]
    return Recipe(
        directory=directory,
        seed=config.seed,
        backbone=study.backbone,
        head=study.head,
        preprocessing=study.preprocessing,
        cache=cache,
        grades=manifest.grades,
        ids=tuple(record.id for record in manifest.records),
        groups=tuple(groups),
        pretraining=config.pretraining,
        finetuning=config.finetuning,
        compute=compute,
        checkpoint_seconds=config.compute.checkpoint_seconds,
    )


def make_jobs(study: Study, recipe: Recipe, manifest: Manifest, splits: Splits) -> Jobs:
    """Return the jobs of a study.

    Args:
        study: what to run.
        recipe: what all jobs share.
        manifest: the images that can be read.
        splits: their folds.
    """
    rows = manifest.rows
    evaluation = study.config.evaluation
    pretrainings, features = {}, {}
    for task in study.tasks:
        for fold in pretraining_folds(study):
            pretraining = PretrainingJob(
                recipe,
                task,
                fold,
                rows[splits.pretraining_rows(fold)],
                # Of a pretraining for all folds the probe only tells; it may not choose.
                probe_rows=rows[splits.labelled_rows(fold or 0, 0, min(evaluation.label_fractions))],
            )
            pretrainings[task.info.name, fold] = pretraining
            if FROZEN_ARMS.intersection(evaluation.arms):
                labelled = np.sort(rows[manifest.labelled])
                features[pretraining.id] = FeaturesJob(
                    recipe, pretraining.folder, pretraining.identity, labelled, after=(pretraining.id,)
                )
    # Cells share these arrays, of which a share of the labels is a prefix: the plan does not grow with their number.
    tested = [rows[splits.test_rows(fold)] for fold in range(splits.num_folds)]
    in_order = [[rows[order.rows] for order in by_fold] for by_fold in splits.orders]
    cells = []
    for arm, used, fraction, fold, repetition in cell_coordinates(study):
        source = None
        if used is not None:
            source = pretrainings.get((used.info.name, fold)) or pretrainings[used.info.name, None]
        after: tuple[str, ...] = () if source is None else (source.id,)
        if source is not None and arm in FROZEN_ARMS:
            after = (source.id, features[source.id].id)
        cells.append(
            CellJob(
                recipe,
                used,
                arm,
                fraction,
                fold,
                repetition,
                training_rows=in_order[repetition][fold][: len(splits.labelled_rows(fold, repetition, fraction))],
                test_rows=tested[fold],
                weights=None if source is None else (source.folder, source.identity),
                after=after,
                keep_model=fraction == max(evaluation.label_fractions) and repetition == 0,
            )
        )
    return Jobs(list(pretrainings.values()), list(features.values()), cells)
