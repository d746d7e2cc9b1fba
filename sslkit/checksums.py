"""Folders that are sealed: a file of checksums, ``SHA256SUMS``, vouches for the others.

A file that was truncated, changed or taken away no longer fits its checksum, and is not used. The format is that of
coreutils, so that ``sha256sum --check SHA256SUMS`` checks a folder without sslkit.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from sslkit.errors import RunDirectoryError
from sslkit.files import flush_folder, write_text

SUMS = "SHA256SUMS"
"""The name of the file of checksums."""


def successor(path: Path) -> Path:
    """Return where the next content of a sealed file is written, for [seal][sslkit.checksums.seal] to put in place."""
    return path.with_name(f".{path.name}.next")


def seal(folder: Path, names: Iterable[str], *, without: Iterable[str] = ()) -> None:
    """Vouch for files of a folder, together with those that it has vouched for already.

    Successors of the files take their place, all of them or none: the checksums are written first, and a replacement
    that is broken off after that is finished by [flaws][sslkit.checksums.flaws].

    Args:
        folder: where the files are.
        names: of the files.
        without: names that are vouched for no more; their files are removed.
    """
    names = list(names)
    sums = read_sums(folder)
    for name in names:
        path = folder / name
        sums[name] = file_digest(successor(path) if successor(path).exists() else path)
    for name in without:
        sums.pop(name, None)
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    for name in names:
        _promote(folder / name)
    for name in without:
        (folder / name).unlink(missing_ok=True)
    flush_folder(folder)


def flaws(folder: Path, names: Iterable[str] = ()) -> list[str]:
    """Return what is wrong with a sealed folder, a sentence each; nothing if it may be used.

    A replacement of its files that was broken off is finished on the way.

    Args:
        folder: the folder.
        names: the files that it must vouch for; all that it vouches for are checked if none are given.
    """
    if not (folder / SUMS).is_file():
        return [f"{SUMS} is missing"]
    sums = read_sums(folder)
    found = []
    for name in list(names) or sums:
        path = folder / name
        if name not in sums:
            found.append(f"{name} has no checksum in {SUMS}")
        elif not (_holds(path, sums[name]) or (_holds(successor(path), sums[name]) and _promote(path))):
            found.append(f"{name} {'does not fit its checksum' if path.is_file() else 'is missing'}")
    return found


def require(folder: Path, *names: str) -> None:
    """Refuse files that their folder does not vouch for.

    Raises:
        RunDirectoryError: naming what is wrong.
    """
    if found := flaws(folder, names):
        raise RunDirectoryError(
            f"{folder}: {'; '.join(found)}. It was changed or damaged after it was written; "
            "the command that wrote it, run again, does it anew"
        )


def read_sums(folder: Path) -> dict[str, str]:
    """Return the checksums that a folder vouches for by name; none where the file is missing or makes no sense."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    entries = (line.partition("  ") for line in lines)
    # The names are of the folder's own files: who wrote the list may be a stranger.
    return {name: digest for digest, parted, name in entries if parted and name == os.path.basename(name)}


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, computed again whenever its size or its time has changed."""
    status = path.stat()
    return _file_digest(path, status.st_mtime_ns, status.st_size)


@cache
def _file_digest(path: Path, _modified: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and file_digest(path) == digest


def _promote(path: Path) -> bool:
    """Put a file's successor in its place, where it has one; return whether that could be done."""
    try:
        if successor(path).exists():
            os.replace(successor(path), path)
    except OSError:  # on a disk that is read-only now, say
        return False
    return True
