"""Files that are whole or not there, and files that are nothing but files."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sslkit.errors import StorageError

_PART = ".part"
"""Ends the names of files and folders that are being written; what a crash leaves behind is known by it."""
MAX_BYTES = 2**30
"""The most bytes of a file that is read whole: 100 million pixels of four channels of 16 bits are 0.75 of it."""

_NAME_MAX, _PATH_MAX = 255, 4096
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading; never wait for a pipe that nobody writes to, or touch a device.

    Raises:
        OSError: if it is no regular file, or cannot be opened.
    """
    _refuse_what_is_no_file(path, os.stat(path))  # a device may act on being opened
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - the caller closes it
    try:
        _refuse_what_is_no_file(path, os.fstat(file.fileno()))  # since it was asked, another may have taken its place
    except OSError:
        file.close()
        raise
    return file


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file of at most 1 GiB; never wait for a pipe, or read a device without end.

    Raises:
        OSError: if it is no regular file, is larger, or cannot be read.

    Example:
        >>> read_file(Path("/"))
        Traceback (most recent call last):
        OSError: [Errno 22] not a file but a folder: '/'
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            reason = f"too large: {size:,} bytes; accepted: up to {MAX_BYTES:,}. Save it compressed or smaller"
            raise OSError(errno.EFBIG, reason, str(path))
        return file.read(size)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # absent on Windows, which has no pipes among its files


def _refuse_what_is_no_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"not a file but {kind}", str(path))


def absolute(path: Path) -> Path:
    """Return where a path leads, links followed, whether or not anything is there.

    Raises:
        ValueError: if nothing can be there; the message is the reason alone.
    """
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise ValueError(str(error)) from None
    # The disk itself says so only once all folders on the way exist.
    if len(os.fsencode(resolved)) >= _PATH_MAX or any(len(os.fsencode(part)) > _NAME_MAX for part in resolved.parts):
        raise ValueError(f"a name has up to {_NAME_MAX} bytes, a path fewer than {_PATH_MAX}")
    return resolved


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name, flush it to disk, and rename it into place.

    Args:
        path: the file; its folder is there: one that somebody takes away does not come back with a part of its files.
        write: called with the open binary file.

    Raises:
        StorageError: if the disk is full, or the file cannot be written for another reason; what was there stays.
    """
    try:
        part = part_of(path)
        try:
            with part.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        flush_folder(path.parent)
    except OSError as error:
        raise StorageError.of(path, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        StorageError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(folder, error) from error


def why_unwritable(path: Path) -> str | None:
    """Return why no file can be written under a path, as far as that can be told without trying; None: it can."""
    folder = path.absolute().parent
    if path.is_dir():
        return "is a folder"
    if not folder.is_dir():
        return f"cannot be written: there is no folder {path.parent}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"cannot be written: nothing may be written into the folder {path.parent}"
    return None


def make_scratch(beside: Path) -> Path:
    """Return a new folder under a temporary name that is to be renamed to ``beside``.

    Raises:
        StorageError: if it cannot be made.
    """
    scratch = part_of(beside)
    make_folder(scratch)
    return scratch


def part_of(path: Path) -> Path:
    """Return a new temporary name for a file or folder while it is written."""
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}{_PART}")


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, where the system can: a rename that a power cut undoes is no rename."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(folder: Path) -> None:
    """Remove what a process that was killed had begun to write; nobody else may be writing below the folder."""
    for path in list(folder.rglob(f".*{_PART}")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 text atomically; what a name holds that is no text is written as JSON does, such as ``\udce9``."""
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, indented, with keys in their order."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write one line of JSON a mapping, atomically."""
    write_text(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table atomically; None and absent values are empty, floats keep all their digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if value is None else value for key, value in row.items()} for row in rows)
    write_text(path, buffer.getvalue())
