"""One run at a time in a directory."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from sslkit.errors import RunDirectoryError
from sslkit.experiment.run_directory import LOCK_FILES, Lock, RunDirectory, identity, this_machine
from sslkit.files import make_folder, write_text


@contextmanager
def locked(directory: RunDirectory) -> Iterator[RunDirectory]:
    """Keep other runs out of a directory, which is made where it is missing, and removed if nothing came of it.

    The lock is the operating system's: it ends with the process, however that ends. It holds between machines where
    their network file system carries locks (NFS from version 4, Lustre with ``flock``); where a file system knows no
    locks at all, the mere existence of the file is one, which a crash leaves behind.

    Yields:
        The directory, which knows its lock, and whose ``require`` refuses it once it was taken away or replaced.

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
    ours = Lock(this_machine(), identity(lock_path), _who())
    try:
        write_text(holder_path, ours.holder)
        yield replace(directory, lock=ours)
    finally:
        if not directory.config.exists() and ours.holds(root):
            for path in (holder_path, lock_path):
                path.unlink(missing_ok=True)
            for folder in made:
                if not any(folder.iterdir()):
                    folder.rmdir()
        lock.release()


def _refusal(root: Path, holder: Path, *, soft: bool) -> str:
    who = holder.read_text(encoding="utf-8").partition("\n")[0] if holder.exists() else "another process"
    advice = f"; if that runs no more, delete {root / LOCK_FILES[0]}" if soft else ""
    return f"{root} is in use by {who}; wait until it has ended, or give another --output{advice}"


def _who() -> str:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # No other call says the same, not even one in the same second of a process of the same number.
    return f"process {os.getpid()} on {platform.node()} since {now}\n{secrets.token_hex(16)}\n"
