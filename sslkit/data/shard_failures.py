"""The images that could not be read, as the shards tell of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sslkit.checksums import seal, successor
from sslkit.data.claims import claim, is_sealed
from sslkit.data.decoding import Failure, decode_chunk
from sslkit.data.object_store import READERS, ObjectStore
from sslkit.data.shard_building import Source, fetch, write_index
from sslkit.data.shards import SHARD_FILES, place_of, shard_folder
from sslkit.errors import StorageError


def unreadable_rows(
    here: Path, source: Source, store: ObjectStore | None, tried: Collection[int] = ()
) -> dict[int, str]:
    """Return the rows that could not be read, each with the reason, after another try where one may help.

    Args:
        here: the folder of all caches on this machine.
        source: what was decoded.
        store: where else shards are.
        tried: the places of shards that were decoded just now.

    Raises:
        StorageError: if an index is damaged, or cannot be read or written.
    """
    shards = source.shards
    places = defaultdict[str, list[int]](list)
    for place, key in enumerate(shards.keys):
        places[key].append(place)
    reasons: dict[int, str] = {}
    with ThreadPoolExecutor(1 if store is None else READERS) as pool:
        indices = pool.map(lambda key: _read_index(here, key, store), places)
        for key, unreadable in zip(places, indices, strict=True):
            for place in places[key]:
                if place not in tried and any(failure["passing"] for failure in unreadable.values()):
                    unreadable = _try_again(here, source, place, unreadable, store)
                start = shards.rows(place).start
                reasons |= {start + row: failure["reason"] for row, failure in unreadable.items()}
    return dict(sorted(reasons.items()))


def _read_index(here: Path, key: str, store: ObjectStore | None) -> dict[int, Failure]:
    folder = shard_folder(here, key)
    if store is None or is_sealed(folder):
        text: str | bytes = (folder / "index.json").read_bytes()
    else:
        text = store.read(place_of(key), "index.json") or b"{}"
    try:
        return {int(row): failure for row, failure in json.loads(text)["unreadable"].items()}
    except (ValueError, KeyError, AttributeError, RecursionError):
        where = folder if store is None else f"{store.url}/{place_of(key)}"
        raise StorageError(
            f"{where}/index.json is damaged; delete its folder, and run the same command again"
        ) from None


def _try_again(
    here: Path, source: Source, place: int, unreadable: dict[int, Failure], store: ObjectStore | None
) -> dict[int, Failure]:
    """Return what is unreadable in a shard, after another try at what a disk or network refused."""
    key, rows = source.shards.keys[place], source.shards.rows(place)
    folder = shard_folder(here, key)
    held = claim(here, key)
    if held is None:  # another process tries
        return unreadable
    try:
        if not is_sealed(folder) and (store is None or fetch(held, store, key)):
            return unreadable
        unreadable = dict(unreadable)
        for row in [row for row, failure in unreadable.items() if failure["passing"]]:
            del unreadable[row]
            records = [source.records[rows.start + row]]
            unreadable |= decode_chunk(source.dataset, records, source.preprocessing, folder, row)[1]
        write_index(successor(folder / "index.json"), len(rows), unreadable)
        seal(folder, SHARD_FILES)
    finally:
        held.release()
    if store is not None:
        store.put(folder, place_of(key))
    return unreadable
