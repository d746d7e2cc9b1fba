"""The images of a study decoded ahead of its run, by as many machines at once as there are."""

from __future__ import annotations

from dataclasses import dataclass

from sslkit.config import RunConfig
from sslkit.experiment.environment import num_decoders, process_context
from sslkit.experiment.observation import RunObserver, Silent
from sslkit.experiment.plan import make_manifest
from sslkit.experiment.preparation import decode_images
from sslkit.experiment.study import resolve
from sslkit.registry import Registry


@dataclass(frozen=True)
class Ingested:
    """What became of a data set's images.

    Attributes:
        images: how many there are.
        decoded: how many of them this call decoded, rather than found or left to others.
        shards: how many folders they are divided into.
        bytes: that the decoded images take.
        place: the folder or the URL that they are below.
        key: what the whole is called; it is part of the name of every job.
        unreadable: the reason, by id, of each image that cannot be read.
    """

    images: int
    decoded: int
    shards: int
    bytes: int
    place: str
    key: str
    unreadable: dict[str, str]


def ingest_images(config: RunConfig, registry: Registry, observer: RunObserver | None = None) -> Ingested:
    """Decode the images of a configuration, or see to it that they are decoded.

    Raises:
        UsageError: if configuration or data cannot be used.
        RunError: if a process dies, or disk or storage cannot be written to.
    """
    observer = observer or Silent()
    study = resolve(config, registry)
    for text in study.deprecations():
        observer.warned(text)
    manifest = make_manifest(study)
    observer.stage("ingest", len(manifest))
    context = process_context(study.modules())
    workers = num_decoders(config.compute.workers)
    cache, unreadable = decode_images(study, manifest, workers, context, observer, observer.warned)
    num_images, height, width, channels = cache.shards.shape
    return Ingested(
        images=num_images,
        decoded=cache.decoded,
        shards=len(cache.shards.keys),
        bytes=num_images * height * width * channels,
        place=cache.url or str(cache.root),
        key=cache.folder.name,
        unreadable={item["id"]: item["reason"] for item in unreadable},
    )
