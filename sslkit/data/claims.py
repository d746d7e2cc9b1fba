"""Who is at which shard, among all processes and machines that share the folder of a cache."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from sslkit.checksums import SUMS, flaws, read_sums
from sslkit.data.shards import place_of
from sslkit.errors import StorageError
from sslkit.files import flush_folder, make_folder, part_of

WAIT_SECONDS = 0.2
"""Between two looks at what others are at."""


class Claim:
    """The right to make one folder, until it is released or its process ends.

    The lock is the operating system's, and ends with the process, however that ends. It holds between machines where
    their network file system carries locks (NFS from version 4, Lustre with ``flock``); where a file system knows none,
    every claim is granted: what two make at once is made twice, and is the same.

    Args:
        folder: the folder that is made.
        lock: held; None where there are no locks.
    """

    def __init__(self, folder: Path, lock: FileLock | None) -> None:
        self.folder, self._lock = folder, lock

    @property
    def is_sure(self) -> bool:
        """Whether nobody else can have the same claim."""
        return self._lock is not None

    def scratch(self) -> Path:
        """Return a new empty folder that is to become the claimed one; what was begun before is removed.

        Raises:
            StorageError: if it cannot be made.
        """
        if self.is_sure:
            for begun in self.folder.parent.glob(f".{self.folder.name}-*.part"):
                shutil.rmtree(begun, ignore_errors=True)
        scratch = part_of(self.folder)
        make_folder(scratch)
        return scratch

    def put_in_place(self, scratch: Path) -> None:
        """Rename what was made, unless another was first with the same; what is damaged gives way."""
        names = tuple(read_sums(scratch))  # a list of checksums that was cut short vouches for too little
        if self.folder.exists() and flaws(self.folder, names):
            shutil.rmtree(self.folder)
        try:
            scratch.rename(self.folder)
        except OSError:
            if flaws(self.folder, names):
                raise
            shutil.rmtree(scratch, ignore_errors=True)
        flush_folder(self.folder.parent)

    def release(self) -> None:
        """Let others claim the folder."""
        if self._lock is not None:
            self._lock.release()


def claim(root: Path, key: str, kind: str = "images") -> Claim | None:
    """Claim a folder of a cache; return None while another process has it.

    Args:
        root: of the cache.
        key: of the folder.
        kind: of the folder.

    Raises:
        StorageError: if nothing can be written there.
    """
    # Nobody removes these files: who waits for one that another removes would hold a lock on nothing.
    path = root / f"{place_of(key, f'locks/{kind}')}.lock"
    make_folder(path.parent)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not isinstance(lock, SoftFileLock):  # as a FileLock becomes where the file system knows no other
            return None
    except OSError as error:
        raise StorageError.of(path, error) from error
    except NotImplementedError:  # which earlier versions of filelock say there
        pass
    held = None if isinstance(lock, SoftFileLock) or not lock.is_locked else lock
    if held is None:
        lock.release()
    return Claim(root / place_of(key, kind), held)


@contextmanager
def claimed(root: Path, key: str, is_made: Callable[[], bool], kind: str = "images") -> Iterator[Claim | None]:
    """Wait until a folder is made by another process, or may be made by this one.

    Args:
        root: of the cache.
        key: of the folder.
        is_made: tells whether it is made.
        kind: of the folder.

    Yields:
        The claim; None if the folder is made.
    """
    while not is_made():
        if (held := claim(root, key, kind)) is not None:
            try:
                yield None if is_made() else held
            finally:
                held.release()
            return
        time.sleep(WAIT_SECONDS)
    yield None


def is_sealed(folder: Path) -> bool:
    """Tell whether a folder was finished, whatever became of it since."""
    return (folder / SUMS).is_file()


def remove_abandoned(root: Path) -> None:
    """Remove what processes that were killed had begun to make: no one has a claim to it."""
    for scratch in root.glob("*/*/.*-*.part"):
        key, kind = scratch.name.removeprefix(".").rpartition("-")[0], scratch.parent.parent.name
        if scratch.is_dir() and (held := claim(root, key, kind)) is not None:
            if held.is_sure:
                shutil.rmtree(scratch, ignore_errors=True)
            held.release()
