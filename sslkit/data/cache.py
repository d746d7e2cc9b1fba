"""Images decoded once, in parallel, into memory-mapped shards that every stage reads as one array."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.checksums import flaws, seal
from sslkit.data.cache_root import CacheRoot, local_root
from sslkit.data.claims import claimed, is_sealed, remove_abandoned
from sslkit.data.fingerprints import Digests, fingerprint_all
from sslkit.data.object_store import ObjectStore
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.shard_building import ShardBuilder, Source, fetch
from sslkit.data.shard_failures import unreadable_rows
from sslkit.data.shard_survey import Count, refuse_too_small_a_disk, survey
from sslkit.data.sharded_images import ShardedImages
from sslkit.data.shards import NO_SHARDS, Shards, content_key, list_shards, place_of, shard_folder
from sslkit.errors import StorageError
from sslkit.files import write_atomically, write_json
from sslkit.interfaces import Dataset
from sslkit.types import Record

_LIST_FILES = ("digests.npy", "index.json")
"""What the folder of a data set vouches for."""

LISTS = "sets"
"""The kind of a data set's folder, as a claim names it."""


@dataclass(frozen=True)
class ImageCache:
    """Decoded images on disk.

    It travels to the jobs by pickle, and what it weighs does not grow with the images.

    Attributes:
        folder: of the data set, which lists its shards; its name is the key of all images together.
        unreadable: the rows that could not be read, each with the reason.
        shards: where the images are.
        url: of the storage that shards are fetched from as they are first used; None: all are on this disk.
        decoded: how many images were decoded when the cache was asked for, rather than found.
    """

    folder: Path
    unreadable: dict[int, str]
    shards: Shards = NO_SHARDS
    url: str | None = None
    decoded: int = field(default=0, compare=False)

    @property
    def root(self) -> Path:
        """The folder of all caches on the machine that asks, which may be another than the one that decoded."""
        return self.folder.parents[2] if self.url is None or self.folder.is_dir() else local_root(self.url)

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders below the root that it is made of, each sealed; none of those that are fetched as they are used.

        Who carries them to another machine has all that a job needs there, once the cache is `moved`.
        """
        keys = self.shards.keys if self.url is None else ()
        return self.folder, *(shard_folder(self.root, key) for key in dict.fromkeys(keys))

    def moved(self, root: Path) -> ImageCache:
        """Return the same cache below another root."""
        return replace(self, folder=root / place_of(self.folder.name, LISTS))

    def open(self) -> ShardedImages:
        """Return all images as one array, uint8 (M, H, W, 3), read from disk as it is used."""
        return ShardedImages(self.shards, self.find)

    def find(self, key: str) -> Path:
        """Return the folder of a shard, which is fetched where it is far away.

        Raises:
            StorageError: if it cannot be fetched.
        """
        folder = shard_folder(self.root, key)
        if self.url is None or is_sealed(folder):
            return folder
        with claimed(self.root, key, lambda: is_sealed(folder)) as held:
            if held is not None and (found := fetch(held, ObjectStore(self.url), key)):
                raise StorageError(
                    f"{self.url}/{place_of(key)} is damaged and not used: {'; '.join(found)}; delete it, and run the "
                    "same command again, which decodes its images anew"
                )
        return folder

    def digests(self) -> Digests:
        """Return uint8 (M, 16): a digest of each image's content."""
        digests: Digests = np.load(self.folder / "digests.npy", allow_pickle=False)
        return digests

    def statistics(self) -> npt.NDArray[np.float64]:
        """Return float64 (M, 16): each original's global statistics, in the order of STATISTICS; NaN where unknown."""
        return self._concatenated("statistics.npy")

    def headers(self) -> npt.NDArray[np.void]:
        """Return (M,) of each original's ``format``, ``mode`` and ``bits``; empty and 0 where unknown."""
        return self._concatenated("headers.npy")

    def _concatenated(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([np.load(self.find(key) / name, allow_pickle=False) for key in self.shards.keys])

    def share(self) -> None:
        """Send what was found out about the images to where their shards are, if that is far away."""
        if self.url is not None:
            ObjectStore(self.url).put(self.folder, place_of(self.folder.name, LISTS))


def build_cache(
    dataset: Dataset[Any],
    records: Sequence[Record],
    preprocessing: Preprocessing,
    *,
    root: CacheRoot,
    workers: int,
    context: BaseContext,
    progress: Callable[[int, int], None] = lambda done, total: None,
    warn: Callable[[str], None] = lambda text: None,
    per_shard: int | None = None,
) -> ImageCache:
    """Decode a data set's images, or find them decoded.

    Several processes, on several machines, may do so at once: each decodes the shards that no other is at.

    Args:
        dataset: where the images come from; travels to the workers by pickle.
        records: the images, in the order of the rows.
        preprocessing: size and crop.
        root: the folder of all caches, or its URL.
        workers: number of processes.
        context: how processes are started.
        progress: called with the number of images done and their total.
        warn: called with what is wrong with decoded images that are found, and are decoded anew.
        per_shard: images of a shard; by default as many as `images_per_shard` says. The key does not depend on it.

    Raises:
        RunError: if a worker dies.
        StorageError: if the disk is full, or folder or storage cannot be used.
    """
    store = None if isinstance(root, Path) else ObjectStore(root)
    here = local_root(root)
    digests = fingerprint_all(dataset, records, workers)
    source = Source(dataset, records, preprocessing, list_shards(digests, preprocessing, per_shard))
    remove_abandoned(here)
    folder = _write_list(here, content_key(digests, preprocessing), digests, source.shards, store)
    count = Count(len(records), progress)
    unsent, missing, damaged = survey(here, source.shards, store, workers, count, warn)
    builder = ShardBuilder(source, here, store, workers, context, count.add)
    if missing or damaged or unsent:
        refuse_too_small_a_disk(here, source.shards, missing + damaged)
        builder.build(missing, damaged, unsent)
    unreadable = unreadable_rows(here, source, store, builder.made)
    count.finish()
    return ImageCache(
        folder, unreadable, source.shards, None if store is None else store.url, sum(builder.made.values())
    )


def _write_list(here: Path, key: str, digests: Digests, shards: Shards, store: ObjectStore | None) -> Path:
    """Return the folder of a data set, which lists its shards; what others found out about it is fetched with it."""
    folder, name = here / place_of(key, LISTS), place_of(key, LISTS)
    index = {"images": shards.num_images, "per_shard": shards.per_shard, "size": shards.size, "shards": [*shards.keys]}

    def is_right(folder: Path) -> bool:
        return not flaws(folder, _LIST_FILES) and json.loads((folder / "index.json").read_text()) == index

    with claimed(here, key, lambda: is_right(folder), LISTS) as held:
        if held is not None:
            scratch = held.scratch()
            try:
                if store is None or store.get(name, scratch, _LIST_FILES) or not is_right(scratch):
                    shutil.rmtree(scratch)
                    scratch = held.scratch()
                    write_atomically(scratch / "digests.npy", lambda file: np.save(file, digests))
                    write_json(scratch / "index.json", index)
                    seal(scratch, _LIST_FILES)
                shutil.rmtree(folder, ignore_errors=True)
                held.put_in_place(scratch)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    if store is not None and store.seal_of(name) is None:
        store.put(folder, name)  # before any image is decoded: a store that cannot be written to is told at once
    return folder
