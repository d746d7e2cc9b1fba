"""What of a run stands already, found out without decoding an image or reading one."""

from __future__ import annotations

import json
from pathlib import Path

from sslkit.data.cache import ImageCache, find_cache
from sslkit.data.cache_root import default_cache_root
from sslkit.data.manifest import Manifest
from sslkit.engine.precision import Compute
from sslkit.errors import DataError
from sslkit.experiment.audit import join_duplicates, kept_duplicates
from sslkit.experiment.plan import Jobs, draw_splits, make_jobs, make_recipe
from sslkit.experiment.preparation import unwritable
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import Study


def planned_jobs(study: Study, manifest: Manifest, directory: RunDirectory, compute: Compute) -> tuple[Jobs, str]:
    """Return the jobs of a study, and why it cannot be told which of them are done; empty where it can.

    What a job is called depends on the images: on those that could be read, on duplicates among them, and on the name
    of the decoded images. All three are taken from the cache that the last call of the run has left.

    Args:
        study: what is to be run.
        manifest: its images, readable or not.
        directory: where it is to be run, or has begun to be.
        compute: what it computes on.
    """
    undecoded = ImageCache(Path(), {})
    name, digest = _images_of_last_call(directory)
    if not name:
        unknown = f"{directory.run.name} there is damaged" if directory.run.exists() else ""
        return _jobs(study, manifest, manifest, undecoded, directory, compute), unknown
    root = study.config.images.cache or default_cache_root()
    readable, cache = _as_decoded(study, manifest, find_cache(name, root))
    if cache is None:
        unknown = f"the decoded images of the last call are not in {root}"
    elif not readable.digest().startswith(digest):
        unknown = "the data set lists other images, labels or groups than at the last call"
    else:
        return _jobs(study, manifest, readable, cache, directory, compute), ""
    return _jobs(study, manifest, manifest, undecoded, directory, compute), unknown


def _as_decoded(study: Study, manifest: Manifest, cache: ImageCache | None) -> tuple[Manifest, ImageCache | None]:
    """Return the manifest of the images that could be read, duplicates joined, and their cache; None without one."""
    if cache is None:
        return manifest, None
    given = manifest.without({**cache.unreadable, **unwritable(manifest)})
    duplicates = kept_duplicates(given, cache)
    if duplicates is None:
        return manifest, None
    try:
        return join_duplicates(given, duplicates, study.config.evaluation.largest_group), cache
    except DataError:  # a group is too large now: the run will say so
        return given, cache


def _jobs(
    study: Study,
    manifest: Manifest,
    readable: Manifest,
    cache: ImageCache,
    directory: RunDirectory,
    compute: Compute,
) -> Jobs:
    recipe = make_recipe(study, manifest, readable, cache, directory, compute)
    return make_jobs(study, recipe, readable, draw_splits(study, readable))


def _images_of_last_call(directory: RunDirectory) -> tuple[str, str]:
    """Return the name of the decoded images and how the digest of the manifest begins, as run.json has them."""
    try:
        told = json.loads(directory.run.read_text(encoding="utf-8"))["data"]["hash"]
        name, _, digest = str(told).partition("-")
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return "", ""
    return (name, digest) if name.isalnum() else ("", "")
