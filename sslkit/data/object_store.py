"""Sealed folders in object storage, or wherever else fsspec leads: S3, Google Cloud, Azure, a server, a disk.

An object store knows no locks and no renaming of folders. What is sealed makes do without: the files of a folder come
first and its checksums last, so that half a folder vouches for nothing; and its name is a digest of what it holds, so
that two machines which write it write the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslkit.checksums import SUMS, flaws, read_sums
from sslkit.errors import DataError, StorageError
from sslkit.storage import StorageURL, file_system, reason

READERS = 16
"""Small files that are asked of object storage at a time."""


@dataclass(frozen=True)
class ObjectStore:
    """Sealed folders below a URL.

    Attributes:
        url: of the folder above them, without a slash at its end, such as ``s3://bucket/prefix``.
    """

    url: str

    def seal_of(self, name: str) -> bytes | None:
        """Return the checksums of a folder; None where it is not there, or not whole.

        Raises:
            StorageError: if the storage cannot be asked.
        """
        return self.read(name, SUMS) or None

    def read(self, name: str, file: str) -> bytes | None:
        """Return a small file of a folder; None where it is not there.

        Raises:
            StorageError: if the storage cannot be asked.
        """
        with self._asked("read") as (files, root):
            try:
                content: bytes = files.cat_file(f"{root}/{name}/{file}")
            except FileNotFoundError:
                return None
        return content

    def put(self, folder: Path, name: str) -> None:
        """Write a sealed folder, unless it is there as it is.

        Raises:
            StorageError: if it cannot be written.
        """
        seal, there = (folder / SUMS).read_bytes(), self.seal_of(name)
        if there == seal:
            return
        if there is not None:
            self.unseal(name)
        with self._asked("written to") as (files, root):
            for file in (*read_sums(folder), SUMS):
                files.put_file(str(folder / file), f"{root}/{name}/{file}")

    def unseal(self, name: str) -> None:
        """Let a folder vouch for nothing until it is written again: it is damaged, or its files are about to change.

        Raises:
            StorageError: if it cannot be written.
        """
        with self._asked("written to") as (files, root):
            files.pipe_file(f"{root}/{name}/{SUMS}", b"")  # who may write there may not always delete

    def get(self, name: str, scratch: Path, needed: Iterable[str]) -> list[str]:
        """Read a sealed folder into an empty one, and return what is wrong with it; nothing if it is whole.

        Args:
            name: of the folder.
            scratch: the empty one.
            needed: the files that it must vouch for, beside whatever else it does.

        Raises:
            StorageError: if it cannot be read, or not be written here.
        """
        seal = self.seal_of(name)
        if seal is None:
            return [f"{SUMS} is missing"]
        try:
            (scratch / SUMS).write_bytes(seal)
        except OSError as error:
            raise StorageError.of(scratch / SUMS, error) from error
        sums = read_sums(scratch)
        for file in sums:
            self._fetch(f"{name}/{file}", scratch / file)
        return flaws(scratch, dict.fromkeys([*needed, *sums]))

    def _fetch(self, name: str, path: Path) -> None:
        with self._asked("read") as (files, root):
            try:
                files.get_file(f"{root}/{name}", str(path))
            except FileNotFoundError:
                return  # whoever checks the folder says so
            except OSError as error:
                if error.errno is not None and not path.parent.is_dir():
                    raise StorageError.of(path, error) from error
                raise

    @contextmanager
    def _asked(self, what: str) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the path of the root; whatever goes wrong is told in the storage's own words.

        The file system is asked for anew each time: fsspec keeps one a process and a thread of its own for it, and a
        forked process must have another.
        """
        try:
            yield _open(self.url)
        except StorageError:
            raise
        except Exception as error:  # each storage has a tree of errors of its own
            raise StorageError(f"{self.url} cannot be {what}: {reason(error)}. {_ADVICE}") from None


_ADVICE = (
    "Check the address, and that this machine may read and write there (its credentials come from the environment or "
    "the storage's own files); what is done is kept, and the same command goes on"
)


def _open(url: str) -> tuple[Any, str]:
    """Return fsspec's file system and path of a URL.

    Raises:
        StorageError: if what speaks its protocol is not installed, or there is no such protocol.
    """
    address = StorageURL(url)
    # A disk has folders, which a store of objects does not.
    options = {"auto_mkdir": True} if address.scheme in ("file", "local") else {}
    try:
        files = file_system(address, options)
    except DataError as error:
        raise StorageError(str(error)) from None
    return files, files._strip_protocol(url).rstrip("/")
