"""Which shards are there already, and whether they are whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sslkit.checksums import flaws
from sslkit.data.object_store import READERS, ObjectStore
from sslkit.data.shards import SHARD_FILES, Shards, place_of, shard_folder
from sslkit.errors import StorageError


class Count:
    """How many images are done."""

    def __init__(self, total: int, progress: Callable[[int, int], None]) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int) -> None:
        """Tell that so many more are done."""
        self._done = min(self._done + count, self._total)
        self._progress(self._done, self._total)

    def finish(self) -> None:
        """Tell that all are done: those of shards that are equal to others have not been counted."""
        if self._done < self._total:
            self.add(self._total - self._done)


def survey(
    here: Path,
    shards: Shards,
    store: ObjectStore | None,
    workers: int,
    count: Count,
    warn: Callable[[str], None],
) -> tuple[list[int], list[int], list[int]]:
    """Return the places of the shards that a store lacks, that are nowhere, and that are damaged here."""

    def look(place: int) -> tuple[bool, list[str], bool]:
        folder = shard_folder(here, shards.keys[place])
        is_here = folder.exists()
        found = flaws(folder, SHARD_FILES) if is_here else []
        far = store is not None and store.seal_of(place_of(shards.keys[place])) is not None
        return is_here, found, far

    unsent, missing, damaged = list[int](), list[int](), list[int]()
    distinct = list(shards.distinct())
    # In threads: all that was decoded is read and digested, or asked for from afar.
    with ThreadPoolExecutor(workers if store is None else max(workers, READERS)) as pool:
        for place, (is_here, found, far) in zip(distinct, pool.map(look, distinct), strict=True):
            if found:
                folder = shard_folder(here, shards.keys[place])
                done = "decoded" if not far else "fetched"
                warn(
                    f"the decoded images in {folder} are damaged and not used: {'; '.join(found)}; they are {done} anew"
                )
                damaged.append(place)
            elif not (is_here or far):
                missing.append(place)
            else:
                count.add(len(shards.rows(place)))
                if store is not None and not far:
                    unsent.append(place)
    return unsent, missing, damaged


def refuse_too_small_a_disk(here: Path, shards: Shards, wanted: Sequence[int]) -> None:
    """Say at once that not all shards will fit; of one shard that is told as its file is made.

    Raises:
        StorageError: if they will not.
    """
    if len(wanted) < 2:
        return
    needed = sum(len(shards.rows(place)) for place in wanted) * 3 * shards.size**2
    free = shutil.disk_usage(here).free
    if needed > free:
        raise StorageError(
            f"cannot write {here}: the decoded images take {needed / 2**30:,.1f} GiB, of which {free / 2**30:,.1f} are "
            "free; free some space, or give another images.cache. Then run the same command again"
        )
