"""What of a run stands already, found out from its directory alone: no image is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL

from sslkit.data.cache import ImageCache
from sslkit.data.duplicates import join_groups
from sslkit.data.manifest import Manifest
from sslkit.engine.precision import Compute
from sslkit.experiment.plan import Jobs, draw_splits, make_jobs, make_recipe
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import Study


def planned_jobs(study: Study, manifest: Manifest, directory: RunDirectory, compute: Compute) -> tuple[Jobs, str]:
    """Return the jobs of a study, and why it cannot be told which of them are done; empty where it can.

    What a job is called depends on the images: on those that could be read, on duplicates among them, and on the name
    of the decoded images. All three are taken from what the last call of the run has written down.

    Args:
        study: what is to be run.
        manifest: its images, readable or not.
        directory: where it is to be run, or has begun to be.
        compute: what it computes on.
    """
    readable, images, unknown = manifest, "", ""
    if directory.run.exists():
        try:
            unknown = _other_decoder(directory)
            if not unknown:
                images, readable = _as_the_last_call(manifest, directory)
                unknown = "" if images else "the data set lists other images, labels or groups than at the last call"
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
            unknown = f"{directory.run.name} or {directory.audit.name} there is damaged"
    recipe = make_recipe(study, manifest, readable, ImageCache(Path(images), {}), directory, compute)
    return make_jobs(study, recipe, readable, draw_splits(study, readable)), unknown


def _other_decoder(directory: RunDirectory) -> str:
    """Return why images will have another name though they are the same; empty where they have the same one."""
    before = json.loads(directory.run.read_text(encoding="utf-8"))["versions"].get("pillow", PIL.__version__)
    return "" if before == PIL.__version__ else f"the images were decoded by Pillow {before}, not {PIL.__version__}"


def _as_the_last_call(manifest: Manifest, directory: RunDirectory) -> tuple[str, Manifest]:
    """Return the name of the decoded images, empty if they were others, and the readable images, duplicates joined."""
    data = json.loads(directory.run.read_text(encoding="utf-8"))["data"]
    duplicates = json.loads(directory.audit.read_text(encoding="utf-8"))["duplicates"]
    images, _, digest = data["hash"].partition("-")
    unreadable = {str(item["id"]) for item in data["unreadable"]}
    given = manifest.without(row for row, record in enumerate(manifest.records) if record.id in unreadable)
    place = {record.id: number for number, record in enumerate(given.records)}
    alike = [*duplicates["identical"], *(pair["images"] for pair in duplicates["near"])]
    if not place.keys() >= {name for names in alike for name in names}:
        return "", manifest
    links = [(place[names[0]], place[name]) for names in alike for name in names[1:]]
    joined = given.joined(join_groups(given.groups, np.array(links, dtype=np.int64).reshape(-1, 2)))
    return (images, joined) if digest and joined.digest().startswith(digest) else ("", manifest)
