"""Sealed folders in object storage, or wherever else fsspec leads: S3, Google Cloud, Azure, a server, a disk.

An object store knows no locks and no renaming of folders. What is sealed makes do without: the files of a folder come
first and its checksums last, so that half a folder vouches for nothing; and its name is a digest of what it holds, so
that two machines which write it write the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslkit.checksums import SUMS, flaws, read_sums
from sslkit.errors import StorageError
from sslkit.printable import abbreviate, printable

READERS = 16
"""Small files that are asked of object storage at a time."""

_SECRETS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "CREDENTIAL")
"""In the names of environment variables whose values are never shown."""

_MOST_OF_AN_ANSWER = 300


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
        return self.read(name, SUMS)

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
        seal = (folder / SUMS).read_bytes()
        if self.seal_of(name) == seal:
            return
        with self._asked("written to") as (files, root):
            for file in (*read_sums(folder), SUMS):
                files.put_file(str(folder / file), f"{root}/{name}/{file}")

    def get(self, name: str, scratch: Path) -> list[str]:
        """Read a sealed folder into an empty one, and return what is wrong with it; nothing if it is whole.

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
        for file in read_sums(scratch):
            self._fetch(f"{name}/{file}", scratch / file)
        return flaws(scratch)

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
            raise StorageError(f"{self.url} cannot be {what}: {_told(error)}. {_ADVICE}") from None


_ADVICE = (
    "Check the address, and that this machine may read and write there (its credentials come from the environment or "
    "the storage's own files); what is done is kept, and the same command goes on"
)


def _open(url: str) -> tuple[Any, str]:
    """Return fsspec's file system and path of a URL.

    Raises:
        StorageError: if what speaks its protocol is not installed, or there is no such protocol.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise StorageError(
            f"{url}: folders in object storage need fsspec; pip install 'sslkit[storage]', or give a folder"
        ) from None
    protocol = url.partition("://")[0]
    try:
        # A disk has folders, which a store of objects does not.
        files, path = url_to_fs(url, **({"auto_mkdir": True} if protocol in ("file", "local") else {}))
    except ImportError as error:
        raise StorageError(
            f"{url}: {_told(error)}; pip install 'sslkit[storage]' brings s3://, and other storage has a package of "
            "its own, such as gcsfs for gs:// and adlfs for az://"
        ) from None
    except ValueError as error:
        raise StorageError(
            f"{url}: {_told(error)}; there are s3://, gs://, az://, file:// and whatever else fsspec knows"
        ) from None
    return files, path.rstrip("/")


def _told(error: Exception) -> str:
    """Return what an error says, on a line, without what the environment holds in secret."""
    text = " ".join(str(error).split()) or type(error).__name__
    for name, value in os.environ.items():
        if len(value) >= 8 and any(word in name.upper() for word in _SECRETS):
            text = text.replace(value, "***")
    return abbreviate(printable(text, keep=""), _MOST_OF_AN_ANSWER).rstrip(".")
