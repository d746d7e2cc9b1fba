"""One run at a time in a directory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from sslkit.errors import RunDirectoryError, StorageError
from sslkit.experiment.run_directory import LOCK_FILES, RunDirectory
from sslkit.files import make_folder, write_text


@contextmanager
def locked(directory: RunDirectory) -> Iterator[Callable[[], None]]:
    """Keep other runs out of a directory, which is made where it is missing, and removed if nothing came of it.

    The lock is the operating system's: it ends with the process, however that ends. It holds between machines where
    their network file system carries locks (NFS from version 4, Lustre with ``flock``); where a file system knows no
    locks at all, the mere existence of the file is one, which a crash leaves behind.

    Yields:
        A function that raises StorageError if the directory has been taken away or replaced since.

    Raises:
        RunDirectoryError: if another run is in the directory; the message tells which.
    """
    root = directory.root
    lock_path, holder_path = (root / name for name in LOCK_FILES)
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    make_folder(root)
    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunDirectoryError(_refusal(root, holder_path, soft=isinstance(lock, SoftFileLock))) from None
    try:
        write_text(holder_path, _who())
        identity = _identity(lock_path)

        def check() -> None:
            if _identity(lock_path) != identity:
                raise StorageError(
                    f"the run directory {root} was taken away or replaced while the run was under way; "
                    "put it back, and run the same command again"
                )

        yield check
    finally:
        if not directory.config.exists() and _identity(lock_path):
            for path in (holder_path, lock_path):
                path.unlink(missing_ok=True)
            for folder in made:
                if not any(folder.iterdir()):
                    folder.rmdir()
        lock.release()


def _refusal(root: Path, holder: Path, *, soft: bool) -> str:
    who = holder.read_text(encoding="utf-8").strip() if holder.exists() else "another process"
    advice = f"; if that runs no more, delete {root / LOCK_FILES[0]}" if soft else ""
    return f"{root} is in use by {who}; wait until it has ended, or give another --output{advice}"


def _who() -> str:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {platform.node()} since {now}\n"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
