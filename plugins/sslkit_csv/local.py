"""The images folder of a table on a disk."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sslkit import Record
from sslkit.errors import DataError
from sslkit_csv.finding import EXTENSIONS

_ELSEWHERE = re.compile("[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]+://")
"""A drive of another system, or a URL."""


class LocalFolder:
    """A folder on a disk, each folder in it listed once."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._files = dict[str, set[str]]()
        self._resolved = functools.cache(os.path.realpath)

    def below(self, name: str) -> str | None:
        """Return where a name leads; a table is data, and only the configuration may point outside the images folder.

        Links within the folder are followed, wherever they lead: who made the folder made them.
        """
        path = os.path.join(self.root, os.path.normpath(name))
        foreign = _ELSEWHERE.match(name) and not os.path.isabs(name)
        return path if not foreign and (self._is_below(path) or self._is_below_by_a_link(path)) else None

    def listing(self, folder: str) -> set[str]:
        """Return the names of what lies in a folder and is none itself."""
        if folder not in self._files:
            try:
                with os.scandir(folder) as entries:
                    self._files[folder] = {entry.name for entry in entries if not _is_folder(entry)}
            except (FileNotFoundError, NotADirectoryError):
                self._files[folder] = set()
            except OSError as error:
                raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from None
        return self._files[folder]

    def is_there(self, path: str) -> bool:
        """Tell of what no listing names whether it is an image nevertheless.

        The listing decides but for file systems that ignore case, or write accents in their own way. A folder or a
        broken link that is named as an image is there, and fails by name when it is read.
        """
        return os.path.lexists(path) if path.lower().endswith(EXTENSIONS) else os.path.isfile(path)

    def id_of(self, name: str) -> str:
        """Return the id of an image that a table names."""
        return posixpath.normpath(name)

    def located(self, record: Record, path: str) -> Record:
        """Return a record with its file."""
        return replace(record, path=Path(path))

    def unlisted(self, records: Sequence[Record]) -> list[str]:
        """Return the image files, relative to the folder, that lie beside those of records and are none of them."""
        listed, found = {str(record.path) for record in records}, list[str]()
        for folder in sorted({os.path.dirname(path) for path in listed}):
            with os.scandir(folder) as entries:
                images = [entry for entry in entries if entry.name.lower().endswith(EXTENSIONS) and _is_file(entry)]
            found += [os.path.relpath(entry.path, self.root) for entry in images if entry.path not in listed]
        return sorted(found)

    def _is_below(self, path: str) -> bool:
        return os.path.abspath(path).startswith(os.path.join(os.path.abspath(self.root), ""))

    def _is_below_by_a_link(self, path: str) -> bool:
        """Tell whether an absolute path comes to the images folder by a link: a configuration's paths are resolved."""
        folder, file = os.path.split(path)
        return os.path.isabs(folder) and self._is_below(os.path.join(self._resolved(folder), file))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
