"""The audit of a data set, at the start of every run: duplicates, groups, classes, and what gives answers away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.blame import blame, watched
from sslkit.checksums import flaws, seal, successor
from sslkit.data.cache import LISTS, ImageCache
from sslkit.data.claims import claimed
from sslkit.data.duplicates import (
    HASH_VERSION,
    LEAST_SIMILARITY,
    MAX_DISTANCE,
    Duplicates,
    NearPair,
    find_duplicates,
    join_groups,
)
from sslkit.data.image_audit import describe_images
from sslkit.data.image_statistics import STATISTICS
from sslkit.data.manifest import UNLABELLED, Manifest
from sslkit.data.splits import Splits
from sslkit.engine.networks import build_network, call_with_seed
from sslkit.errors import DataError
from sslkit.experiment.probes import probe_pretext
from sslkit.experiment.recipe import task_context
from sslkit.experiment.statistics_probe import probe_global_statistics
from sslkit.experiment.study import Study
from sslkit.files import write_json

_MOST_UNLISTED = 1000
"""Names of images without a row that audit.json holds, at most; their count is always whole."""

_SMALL_GROUP = 10
"""Images that a group may hold whatever share of a small data set they are."""


def duplicates_of(manifest: Manifest, cache: ImageCache) -> Duplicates:
    """Return the duplicates among the readable images, found once for each cache; who asks meanwhile waits."""
    kept = cache.folder / "duplicates.json"
    key = [len(manifest), HASH_VERSION, MAX_DISTANCE, LEAST_SIMILARITY]
    known: list[Duplicates] = []

    def are_known() -> bool:
        known[:] = _kept_duplicates(kept, key)
        return bool(known)

    with claimed(cache.root, cache.folder.name, are_known, LISTS) as held:
        if held is None:
            return known[0]
        digests = cache.digests()[manifest.rows]
        duplicates = find_duplicates(cache.open(), [digest.tobytes() for digest in digests], manifest.rows)
        write_json(successor(kept), {"key": key, **asdict(duplicates)})
        seal(cache.folder, [kept.name])
    cache.share()
    return duplicates


def _kept_duplicates(kept: Path, key: Sequence[object]) -> list[Duplicates]:
    if flaws(kept.parent, [kept.name]):
        return []
    found = json.loads(kept.read_text(encoding="utf-8"))
    if found["key"] != key:
        return []
    near, rejected = ([NearPair(**pair) for pair in found[name]] for name in ("near", "rejected"))
    return [Duplicates(tuple(map(tuple, found["identical"])), tuple(near), tuple(rejected), found["compared"])]


def join_duplicates(manifest: Manifest, duplicates: Duplicates, largest_group: float) -> Manifest:
    """Return the manifest with duplicates and the given groups joined, transitively.

    Raises:
        DataError: if a group is too large to be left out of training.
    """
    joined = manifest.joined(join_groups(manifest.groups, duplicates.links()))
    sizes = np.bincount(joined.groups)
    largest = int(sizes.argmax())
    if sizes[largest] > max(largest_group * len(joined), _SMALL_GROUP):
        members = [joined.records[place].id for place in np.flatnonzero(joined.groups == largest)[:5]]
        given = len(np.unique(manifest.groups[joined.groups == largest]))
        joint = f"are one group, {given} given groups joined by duplicates among them"
        how = "are one given group" if given == 1 else joint
        raise DataError(
            f"{sizes[largest]} of {len(joined)} images ({', '.join(members)}, ...) {how}: more than "
            f"{100 * largest_group:.4g} % would stay on one side of every split. Is the group column right? Are most "
            "images copies of one? If it is meant to be so, raise evaluation.largest_group"
        )
    return joined


@dataclass(frozen=True)
class Audit:
    """What was found: the tables of audit.json."""

    images: dict[str, Any]
    duplicates: dict[str, Any]
    groups: dict[str, Any]
    classes: dict[str, Any]
    pretext_probes: dict[str, list[dict[str, Any]]]
    label_probe: dict[str, Any] | None
    unreadable: list[dict[str, str]]

    def write(self, path: Path) -> None:
        """Write audit.json."""
        write_json(path, asdict(self))


def audit(
    study: Study,
    given: Manifest,
    joined: Manifest,
    cache: ImageCache,
    duplicates: Duplicates,
    splits: Splits,
    unreadable: list[dict[str, str]],
    unlisted: Sequence[str],
) -> Audit:
    """Audit the data of a study.

    Args:
        study: what is to be run.
        given: the readable images with the groups that the data set gives.
        joined: the same with duplicates joined.
        cache: the decoded images.
        duplicates: what was found twice.
        splits: the folds.
        unreadable: the images that are left out, id and reason.
        unlisted: images that lie among the others and that no record names.
    """
    return Audit(
        _describe_images(study, given, cache, unreadable, unlisted),
        _describe_duplicates(given, duplicates),
        _describe_groups(given, joined),
        _describe_classes(study, splits),
        _probe_tasks(study, joined, cache),
        _probe_labels(study, joined, cache, splits),
        unreadable,
    )


def _describe_images(
    study: Study,
    manifest: Manifest,
    cache: ImageCache,
    unreadable: list[dict[str, str]],
    unlisted: Sequence[str],
) -> dict[str, Any]:
    ids = [record.id for record in manifest.records]
    reasons = {item["id"]: item["reason"] for item in unreadable}
    return {
        **describe_images(
            ids, cache.headers()[manifest.rows], cache.statistics()[manifest.rows], reasons, study.preprocessing.size
        ),
        "unlisted": list(unlisted[:_MOST_UNLISTED]),
        "unlisted_count": len(unlisted),
    }


def _describe_duplicates(manifest: Manifest, duplicates: Duplicates) -> dict[str, Any]:
    ids = [record.id for record in manifest.records]
    sets = [*duplicates.identical, *((pair.first, pair.second) for pair in duplicates.near)]
    return {
        "compared": duplicates.compared,
        "method": f"equal content or pixels; 256-bit DCT hash of the crop within {MAX_DISTANCE} bits, confirmed by a "
        f"correlation of fine structure of {LEAST_SIMILARITY} or more",
        "identical": [[ids[place] for place in places] for places in duplicates.identical],
        "near": [
            {
                "images": [ids[pair.first], ids[pair.second]],
                "distance": pair.distance,
                "similarity": round(pair.similarity, 3),
            }
            for pair in duplicates.near
        ],
        "rejected": len(duplicates.rejected),
        "conflicts": [_conflict(manifest, places) for places in sets if _disagree(manifest, places)],
    }


def _disagree(manifest: Manifest, places: Sequence[int]) -> bool:
    grades = manifest.grades[list(places)]
    return len(np.unique(grades[grades != UNLABELLED])) > 1


def _conflict(manifest: Manifest, places: Sequence[int]) -> dict[str, Any]:
    return {
        "images": [manifest.records[place].id for place in places],
        "grades": [int(manifest.grades[place]) for place in places],
    }


def _describe_groups(given: Manifest, joined: Manifest) -> dict[str, Any]:
    labelled = joined.labelled
    pairs = np.unique(np.stack([joined.groups[labelled], joined.grades[labelled]]), axis=1)
    grades_of_group = np.bincount(pairs[0], minlength=len(joined.group_names))
    sizes = np.bincount(joined.groups)
    return {
        "given": len(given.group_names),
        "joined": len(joined.group_names),
        "largest": int(sizes.max()),
        "largest_share": float(sizes.max() / len(joined)),
        "with_several_grades": int((grades_of_group > 1).sum()),
    }


def _describe_classes(study: Study, splits: Splits) -> dict[str, Any]:
    names = study.make_head().class_names
    shares = study.config.evaluation.label_fractions

    def count(rows: npt.NDArray[np.int64]) -> list[int]:
        counts: list[int] = np.bincount(splits.grades[rows], minlength=len(names)).tolist()
        return counts

    folds = range(splits.num_folds)
    return {
        "names": list(names),
        "tested_by_fold": [count(splits.test_rows(fold)) for fold in folds],
        "labelled_by_share": {
            str(share): [count(splits.labelled_rows(f, 0, share)) for f in folds] for share in shares
        },
        "missing": splits.missing_classes(names, shares),
    }


def _probe_tasks(study: Study, manifest: Manifest, cache: ImageCache) -> dict[str, list[dict[str, Any]]]:
    """Probe each pretext task on the preprocessed images; the backbone plays no part in it."""
    if len(manifest.group_names) < 2:
        return {}
    plugin = study.backbone.make()
    context = task_context(plugin, study.preprocessing)
    found = {}
    for task in (part for whole in study.tasks for part in whole.with_parts()):
        network = call_with_seed(0, partial(build_network, plugin))
        made = call_with_seed(0, partial(task.make_task, network, context))
        call = "make_views() or probe_labels()"
        with watched(task.info.provenance, call), blame(task.info.provenance, call):
            probes = probe_pretext(made, cache.open(), manifest.groups, rows=manifest.rows)
        if probes:
            found[task.info.name] = [asdict(probe) for probe in probes]
    return found


def _probe_labels(study: Study, manifest: Manifest, cache: ImageCache, splits: Splits) -> dict[str, Any] | None:
    head = study.make_head()
    if len(np.unique(splits.grades[splits.grades != UNLABELLED])) < 2:
        return None
    statistics = [dict(zip(STATISTICS, values, strict=True)) for values in cache.statistics()[manifest.rows].tolist()]
    probe = probe_global_statistics(
        statistics, splits.grades, manifest.groups, splits.fold_of, head.num_classes, head.positive_from
    )
    return asdict(probe)
