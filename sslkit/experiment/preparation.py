"""From a study to its decoded images, its splits and its jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import PIL

from sslkit.blame import blame, watched
from sslkit.data.cache import ImageCache, build_cache
from sslkit.data.cache_root import default_cache_root
from sslkit.data.manifest import Manifest, fits_tables
from sslkit.data.splits import Splits
from sslkit.engine.precision import Compute
from sslkit.errors import DataError
from sslkit.experiment.audit import Audit, audit, duplicates_of, join_duplicates
from sslkit.experiment.environment import git_state, hardware
from sslkit.experiment.observation import RunObserver
from sslkit.experiment.plan import Jobs, draw_splits, make_jobs, make_recipe
from sslkit.experiment.recipe import versions
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import Study
from sslkit.printable import printable


@dataclass(frozen=True)
class Prepared:
    """All that a run needs to know before its first job.

    Attributes:
        manifest: the images that can be read, duplicates joined into one group.
        cache: the decoded images.
        splits: folds and orders of labels of the images that can be read.
        audit: what was found in the data.
        jobs: the pretrainings, and the cells in the order of results.csv.
    """

    manifest: Manifest
    cache: ImageCache
    splits: Splits
    audit: Audit
    jobs: Jobs


def prepare(
    study: Study,
    directory: RunDirectory,
    compute: Compute,
    manifest: Manifest,
    workers: int,
    context: BaseContext,
    observer: RunObserver,
    warn: Callable[[str], None],
) -> Prepared:
    """Decode the images of a manifest, split them and plan the jobs.

    Raises:
        DataError: if images cannot be read and the run is not told to go on without them.
    """
    config = study.config
    cache, unreadable = decode_images(study, manifest, workers, context, observer, warn)
    given = manifest.without(cache.unreadable)
    duplicates = duplicates_of(given, cache)
    readable = join_duplicates(given, duplicates, config.evaluation.largest_group)
    splits = draw_splits(study, readable)
    dataset = study.make_dataset()
    with watched(dataset.provenance, "unlisted()"), blame(dataset.provenance, "unlisted()"):
        unlisted = [str(name) for name in dataset.unlisted(manifest.records)]
    found = audit(study, given, readable, cache, duplicates, splits, unreadable, unlisted)
    recipe = make_recipe(study, manifest, readable, cache, directory, compute)
    return Prepared(readable, cache, splits, found, make_jobs(study, recipe, readable, splits))


def decode_images(
    study: Study,
    manifest: Manifest,
    workers: int,
    context: BaseContext,
    observer: RunObserver,
    warn: Callable[[str], None],
) -> tuple[ImageCache, list[dict[str, str]]]:
    """Decode the images of a manifest, or find them decoded; return them, and those that are to be left out.

    Raises:
        DataError: if images cannot be read and the run is not told to go on without them.
    """
    images = study.config.images
    cache = build_cache(
        study.make_dataset(),
        manifest.records,
        study.preprocessing,
        root=images.cache or default_cache_root(),
        workers=workers,
        context=context,
        progress=lambda done, total: observer.advanced(done),
        warn=warn,
    )
    cache = replace(cache, unreadable={**cache.unreadable, **_unwritable(manifest)})
    return cache, _check_unreadable(manifest, cache, images.on_unreadable)


def _unwritable(manifest: Manifest) -> dict[int, str]:
    reason = "its name fits in no table, for a carriage return or bytes that are no UTF-8 text; rename its file"
    return {row: reason for row, record in enumerate(manifest.records) if not fits_tables(record.id)}


def _check_unreadable(manifest: Manifest, cache: ImageCache, on_unreadable: str) -> list[dict[str, str]]:
    rows = sorted(cache.unreadable.items())
    unreadable = [{"id": manifest.records[row].id, "reason": reason} for row, reason in rows]
    if not unreadable:
        return []
    shown = "\n".join(f"  {printable(item['id'], keep='')}: {item['reason']}" for item in unreadable[:10])
    shown += f"\n  and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
    if len(unreadable) == len(manifest):
        raise DataError(f"none of the {len(manifest)} images can be read:\n{shown}")
    if on_unreadable == "stop":
        raise DataError(
            f"{len(unreadable)} of {len(manifest)} images cannot be read; mend or remove them, "
            f'or go on without them by images.on_unreadable = "skip":\n{shown}'
        )
    return unreadable


def describe(study: Study, prepared: Prepared, compute: Compute) -> dict[str, Any]:
    """Return what run.json says of a run before it has begun, as plain values."""
    head, manifest = study.make_head(), prepared.manifest
    grades = manifest.grades[manifest.labelled]
    notice = study.dataset.info.cls.notice
    return {
        "name": study.config.name,
        "seed": study.config.seed,
        "versions": {**versions(), "pillow": PIL.__version__},
        "git": git_state(study.config.root),
        "card": study.config.card.model_dump(exclude_none=True),
        "plugins": [
            {
                "kind": plugin.info.kind,
                "name": plugin.name,
                "distribution": plugin.info.distribution,
                "version": plugin.info.version,
                **({} if whole is None else {"part_of": whole.name}),
            }
            for plugin, whole in study.plugins_with_wholes()
        ],
        "hardware": hardware(compute),
        "class_names": list(head.class_names),
        "primary_metric": head.primary_metric,
        "positive_from": head.positive_from,
        "transductive": study.config.pretraining.images == "all" and bool(prepared.jobs.pretrainings),
        "notices": [notice] if notice else [],
        "missing_classes": prepared.audit.classes["missing"],
        "data": {
            "images": len(manifest),
            "labelled": len(grades),
            "groups": len(manifest.group_names),
            "class_counts": np.bincount(grades, minlength=head.num_classes).tolist(),
            "unreadable": prepared.audit.unreadable,
            "hash": f"{prepared.cache.folder.name}-{manifest.digest()[:16]}",
        },
    }
