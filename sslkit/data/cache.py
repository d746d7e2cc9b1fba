"""Images decoded once, in parallel, into one memory-mapped array that every stage reads."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import chain
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
from filelock import FileLock, Timeout

from sslkit.blame import blame
from sslkit.checksums import flaws, seal, successor
from sslkit.data.decoding import CHUNK, Failure, decode_all, decode_chunk
from sslkit.data.preprocessing import Preprocessing
from sslkit.errors import DataError
from sslkit.files import flush_folder, make_folder, part_of, write_json
from sslkit.interfaces import Dataset
from sslkit.types import Record

CACHE_VERSION = 4

_FILES = ("images.npy", "statistics.npy", "headers.npy", "index.json")
"""What a cache vouches for."""


@dataclass(frozen=True)
class ImageCache:
    """Decoded images on disk.

    Attributes:
        folder: where they are; its name is their key.
        unreadable: the rows that could not be read, each with the reason.
        digests: a digest of each image's content.
    """

    folder: Path
    unreadable: dict[int, str]
    digests: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder of all caches."""
        return self.folder.parents[1]

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders below the root that it is made of, each sealed."""
        return (self.folder,)

    def moved(self, root: Path) -> ImageCache:
        """Return the same cache in another folder of caches."""
        return replace(self, folder=root / self.folder.relative_to(self.root))

    def open(self) -> npt.NDArray[np.uint8]:
        """Return uint8 (M, H, W, 3), read from disk as it is used."""
        images: npt.NDArray[np.uint8] = np.load(self.folder / "images.npy", mmap_mode="r", allow_pickle=False)
        return images

    def statistics(self) -> npt.NDArray[np.float64]:
        """Return float64 (M, 16): each original's global statistics, in the order of STATISTICS; NaN where unknown."""
        statistics: npt.NDArray[np.float64] = np.load(self.folder / "statistics.npy", allow_pickle=False)
        return statistics

    def headers(self) -> npt.NDArray[np.void]:
        """Return (M,) of each original's ``format``, ``mode`` and ``bits``; empty and 0 where unknown."""
        headers: npt.NDArray[np.void] = np.load(self.folder / "headers.npy", allow_pickle=False)
        return headers


def default_cache_root() -> Path:
    """Return $SSLKIT_CACHE, or sslkit in the user's cache folder."""
    if given := os.environ.get("SSLKIT_CACHE"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "sslkit"
    return Path.home() / ".cache" / "sslkit"


def content_key(digests: Sequence[str], preprocessing: Preprocessing) -> str:
    """Return the name of a cache: a digest of the images' content and of what is done to them."""
    parts = [CACHE_VERSION, PIL.__version__, asdict(preprocessing), list(digests)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def build_cache(
    dataset: Dataset[Any],
    records: Sequence[Record],
    preprocessing: Preprocessing,
    *,
    root: Path,
    workers: int,
    context: BaseContext,
    progress: Callable[[int, int], None] = lambda done, total: None,
    warn: Callable[[str], None] = lambda text: None,
) -> ImageCache:
    """Decode a data set's images, or find them decoded.

    Args:
        dataset: where the images come from; travels to the workers by pickle.
        records: the images, in the order of the rows.
        preprocessing: size and crop.
        root: the folder of all caches.
        workers: number of processes.
        context: how processes are started.
        progress: called with the number of images done and their total.
        warn: called with what is wrong with decoded images that are found, and are decoded anew.

    Raises:
        RunError: if a worker dies.
        StorageError: if the disk is full, or the folder cannot be written to.
    """
    digests = _fingerprints(dataset, records, workers)
    folder = root / "images" / content_key(digests, preprocessing)
    _remove_abandoned(folder.parent)
    if folder.exists():
        if not (found := flaws(folder, _FILES)):
            unreadable = _try_again(dataset, records, preprocessing, folder)
            progress(len(records), len(records))
            return ImageCache(folder, _reasons(unreadable), digests)
        warn(f"the decoded images in {folder} are damaged and not used: {'; '.join(found)}; they are decoded anew")

    scratch = part_of(folder)
    make_folder(folder.parent)
    try:
        with FileLock(_lock_of(scratch)):
            make_folder(scratch)
            unreadable = decode_all(dataset, records, preprocessing, scratch, workers, context, progress)
            _write_index(scratch / "index.json", len(records), unreadable)
            seal(scratch, _FILES)
            _move_into_place(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _lock_of(scratch).unlink(missing_ok=True)
    return ImageCache(folder, _reasons(unreadable), digests)


def _move_into_place(scratch: Path, folder: Path) -> None:
    """Rename a folder, unless another run was first with the same images; what is damaged gives way."""
    if folder.exists() and flaws(folder, _FILES):
        shutil.rmtree(folder)
    try:
        scratch.rename(folder)
    except OSError:
        if flaws(folder, _FILES):
            raise
    flush_folder(folder.parent)


def _lock_of(scratch: Path) -> Path:
    """Return the file that is locked as long as a scratch folder is being filled."""
    return scratch.with_name(f"{scratch.name}.lock")


def _remove_abandoned(folder: Path) -> None:
    """Remove what runs that were killed had begun to decode: the lock of such a folder is free."""
    for lock_path in folder.glob(".*.part.lock"):
        lock = FileLock(lock_path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(lock_path.with_name(lock_path.name.removesuffix(".lock")), ignore_errors=True)
        lock_path.unlink(missing_ok=True)
        lock.release()


def _fingerprints(dataset: Dataset[Any], records: Sequence[Record], workers: int) -> tuple[str, ...]:
    # In threads: while one waits for the disk or hashes, the others go on, and nothing has to travel.
    def fingerprint(start: int) -> list[str]:
        return [_fingerprint(dataset, record) for record in records[start : start + CHUNK]]

    with ThreadPoolExecutor(workers) as pool:
        return tuple(chain.from_iterable(pool.map(fingerprint, range(0, len(records), CHUNK))))


def _fingerprint(dataset: Dataset[Any], record: Record) -> str:
    try:
        with blame(dataset.provenance, "fingerprint()", contract=(DataError, OSError)):
            return dataset.fingerprint(record)
    except (DataError, OSError) as error:
        return f"unreadable: {error}"


def _try_again(
    dataset: Dataset[Any], records: Sequence[Record], preprocessing: Preprocessing, folder: Path
) -> dict[int, Failure]:
    """Return what is unreadable in a cache, after another try at what a disk or network refused."""
    unreadable = _read_index(folder / "index.json")
    passing = [row for row, failure in unreadable.items() if failure["passing"]]
    for row in passing:
        del unreadable[row]
        unreadable |= decode_chunk(dataset, [records[row]], preprocessing, folder, row)[1]
    if passing:
        _write_index(successor(folder / "index.json"), len(records), unreadable)
        seal(folder, _FILES)
    return unreadable


def _read_index(path: Path) -> dict[int, Failure]:
    return {int(row): failure for row, failure in json.loads(path.read_text())["unreadable"].items()}


def _write_index(path: Path, num_images: int, unreadable: dict[int, Failure]) -> None:
    write_json(path, {"images": num_images, "unreadable": unreadable})


def _reasons(unreadable: dict[int, Failure]) -> dict[int, str]:
    return {row: failure["reason"] for row, failure in sorted(unreadable.items())}
