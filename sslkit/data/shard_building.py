"""Decodes the shards that are missing, together with whoever else is at it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from sslkit.checksums import flaws, seal
from sslkit.data.claims import WAIT_SECONDS, Claim, claim, is_sealed
from sslkit.data.decoding import CHUNK, Failure, allocate, decode_chunk
from sslkit.data.object_store import ObjectStore
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.shards import SHARD_FILES, Shards, place_of, shard_folder
from sslkit.errors import RunError
from sslkit.files import write_json
from sslkit.interfaces import Dataset
from sslkit.processes import follow_parent, stops_held
from sslkit.types import Record

_UPLOADS = 4
"""Shards that are sent to object storage at a time."""


@dataclass(frozen=True)
class Source:
    """What is decoded.

    Attributes:
        dataset: where the images come from; travels to the workers by pickle.
        records: the images, in the order of the rows.
        preprocessing: size and crop.
        shards: what they are divided into.
    """

    dataset: Dataset[Any]
    records: Sequence[Record]
    preprocessing: Preprocessing
    shards: Shards


@dataclass
class _Shard:
    """A shard that is being decoded."""

    place: int
    claim: Claim
    scratch: Path
    left: int
    unreadable: dict[int, Failure] = field(default_factory=dict)


class ShardBuilder:
    """Decodes shards, each as soon as nobody else is at it; one that somebody else has finished is left as it is.

    The images of a shard are decoded by all processes at once, and the next shard is begun before the last images of
    one are done, so that no process waits.

    Args:
        source: what is decoded.
        root: the folder of all caches on this machine.
        store: where else shards are, and are sent to; None: nowhere.
        workers: number of processes.
        context: how processes are started.
        advanced: called with the number of images of each chunk and shard that is done, by whomever.
    """

    def __init__(
        self,
        source: Source,
        root: Path,
        store: ObjectStore | None,
        workers: int,
        context: BaseContext,
        advanced: Callable[[int], None],
    ) -> None:
        self._source, self._root, self._store = source, root, store
        self._workers, self._context, self._advanced = workers, context, advanced
        self._underway: list[_Shard] = []
        self._futures: dict[Future[Any], _Shard] = {}
        self._finished: SimpleQueue[Future[Any]] = SimpleQueue()
        self.made: dict[int, int] = {}
        """The places of the shards that were decoded here, each with its number of images."""

    def build(self, missing: Sequence[int], damaged: Sequence[int], unsent: Sequence[int]) -> None:
        """See to it that shards are whole.

        Args:
            missing: the places of those that are not here; one that is in the store is left there.
            damaged: of those that are here and not whole.
            unsent: of those that are whole here and may not be in the store.

        Raises:
            RunError: if a process dies.
            StorageError: if the disk is full, or the store cannot be written to.
        """
        waiting = [*missing, *damaged]
        if self._store is not None:
            # A store knows no locks: machines that go about it in different orders seldom decode the same.
            random.Random().shuffle(waiting)
        with self._pools() as (decoders, senders):
            sent = [senders.submit(self._send, place) for place in unsent if self._store is not None]
            while True:
                if len(self._futures) < 2 * self._workers:
                    waiting = self._begin_some(waiting, set(damaged), decoders)
                if not (waiting or self._futures):
                    break
                try:
                    # Those that others are at are looked for again now and then.
                    finished = self._finished.get(timeout=WAIT_SECONDS if waiting else None)
                except Empty:
                    continue
                place = self._advance(finished, decoders)
                if place is not None and self._store is not None:
                    sent.append(senders.submit(self._send, place))
                    _raise_what_failed(sent)
            wait(sent)
            _raise_what_failed(sent)

    @contextmanager
    def _pools(self) -> Iterator[tuple[ProcessPoolExecutor, ThreadPoolExecutor]]:
        decoders = ProcessPoolExecutor(self._workers, mp_context=self._context, initializer=follow_parent)
        senders = ThreadPoolExecutor(_UPLOADS)
        try:
            yield decoders, senders
        except (BrokenProcessPool, MemoryError):
            raise RunError(
                "a process that decodes images died: out of memory or of disk? Run the same command again, "
                "with --set compute.workers=1 if it recurs. A script that calls sslkit.run needs "
                "'if __name__ == \"__main__\":' around the call."
            ) from None
        finally:
            decoders.shutdown(cancel_futures=True)
            senders.shutdown(cancel_futures=True)
            for shard in self._underway:
                shutil.rmtree(shard.scratch, ignore_errors=True)
                shard.claim.release()

    def _begin_some(self, waiting: list[int], damaged: set[int], decoders: ProcessPoolExecutor) -> list[int]:
        """Begin to decode shards until all processes have work; return the places of those that still wait."""
        left: list[int] = []
        for number, place in enumerate(waiting):
            if len(self._futures) >= 2 * self._workers:
                return left + waiting[number:]
            if (done := self._begin(place, decoders, place in damaged)) is None:
                left.append(place)
            elif done:
                self._advanced(done)
        return left

    def _begin(self, place: int, decoders: ProcessPoolExecutor, damaged: bool) -> int | None:
        """Begin to decode a shard; return how many images that makes done at once, None if another is at it."""
        key, rows = self._source.shards.keys[place], self._source.shards.rows(place)
        held = claim(self._root, key)
        if held is None:
            return None
        try:
            if self._is_made(held, key, damaged):
                held.release()
                return len(rows)
            scratch = held.scratch()
        except BaseException:
            held.release()
            raise
        shard = _Shard(place, held, scratch, len(rows))
        self._underway.append(shard)
        allocate(scratch, len(rows), self._source.preprocessing.size)
        dataset, preprocessing = self._source.dataset, self._source.preprocessing
        with stops_held():
            for start in range(0, len(rows), CHUNK):
                records = self._source.records[rows.start + start : min(rows.start + start + CHUNK, rows.stop)]
                future = decoders.submit(decode_chunk, dataset, records, preprocessing, scratch, start)
                self._follow(future, shard)
        return 0

    def _is_made(self, held: Claim, key: str, damaged: bool) -> bool:
        """Tell whether another has finished a shard since it was looked for; one that was damaged may be fetched."""
        if is_sealed(held.folder) and not (damaged and flaws(held.folder, SHARD_FILES)):
            return True
        if self._store is None or self._store.seal_of(place_of(key)) is None:
            return False
        if not damaged or not fetch(held, self._store, key):
            return True
        self._store.unseal(place_of(key))  # it would be taken for what is sent there soon
        return False

    def _advance(self, future: Future[Any], decoders: ProcessPoolExecutor) -> int | None:
        """Take what a process has done; return the place of the shard if that is finished with it."""
        shard = self._futures.pop(future)
        if shard.left == 0:
            future.result()
            shard.claim.put_in_place(shard.scratch)
            self._underway.remove(shard)
            shard.claim.release()
            self.made[shard.place] = len(self._source.shards.rows(shard.place))
            return shard.place
        count, failures = future.result()
        shard.unreadable |= failures
        shard.left -= count
        if shard.left == 0:
            rows = self._source.shards.rows(shard.place)
            unreadable = dict(sorted(shard.unreadable.items()))
            self._follow(decoders.submit(_seal, shard.scratch, len(rows), unreadable), shard)
        self._advanced(count)
        return None

    def _follow(self, future: Future[Any], shard: _Shard) -> None:
        self._futures[future] = shard
        future.add_done_callback(self._finished.put)

    def _send(self, place: int) -> None:
        assert self._store is not None
        key = self._source.shards.keys[place]
        self._store.put(shard_folder(self._root, key), place_of(key))


def write_index(path: Path, num_images: int, unreadable: dict[int, Failure]) -> None:
    """Write the index of a shard: how many images there are, and which could not be read, and why."""
    write_json(path, {"images": num_images, "unreadable": unreadable})


def fetch(held: Claim, store: ObjectStore, key: str) -> list[str]:
    """Bring a claimed shard from a store; return what is wrong with it there, nothing if it is here now.

    Raises:
        StorageError: if it cannot be read there, or not be written here.
    """
    scratch = held.scratch()
    try:
        found = store.get(place_of(key), scratch, SHARD_FILES)
        if not found:
            held.put_in_place(scratch)
        return found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _seal(scratch: Path, num_images: int, unreadable: dict[int, Failure]) -> None:
    """Finish a shard; a process does it, since to read what was decoded takes time."""
    write_index(scratch / "index.json", num_images, unreadable)
    seal(scratch, SHARD_FILES)


def _raise_what_failed(futures: list[Future[None]]) -> None:
    for future in [future for future in futures if future.done()]:
        futures.remove(future)
        future.result()
