"""The images folder of a table in a store."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sslkit import Record, StorageURL, StoredFolders, StoredObject
from sslkit_csv.finding import EXTENSIONS


class StoredFolder:
    """A folder in a store; a place in it is the name below it."""

    def __init__(self, root: StorageURL, options: Mapping[str, Any]) -> None:
        self.root = root
        self._folders = StoredFolders(root, options)

    def below(self, name: str) -> str | None:
        """Return the name below the folder that a path or a URL leads to; None if that is outside."""
        if "://" in name:
            start = f"{self.root}/"
            if not name.startswith(start):
                return None
            name = name[len(start) :]
        place = posixpath.normpath(name)
        outside = place.startswith(("/", "../")) or place in ("..", ".")
        return None if outside else place

    def listing(self, folder: str) -> Mapping[str, StoredObject]:
        """Return the objects that lie in a folder, by their names."""
        return self._folders.listing(folder)

    def is_there(self, place: str) -> bool:
        """What a store does not list is not there."""
        return False

    def id_of(self, name: str) -> str:
        """Return the id of an image that a table names: of a URL, what follows the folder."""
        return posixpath.normpath(name.removeprefix(f"{self.root}/"))

    def located(self, record: Record, place: str) -> Record:
        """Return a record with its object, as the store has told of it; without one where there is none."""
        folder, _, name = place.rpartition("/")
        return replace(record, stored=self.listing(folder).get(name))

    def unlisted(self, records: Sequence[Record]) -> list[str]:
        """Return the image files, relative to the folder, that lie beside those of records and are none of them."""
        start = len(f"{self.root}/")
        known = {record.stored.url[start:] for record in records if record.stored is not None}
        folders = sorted({posixpath.dirname(place) for place in known})
        found = (posixpath.join(folder, name) for folder in folders for name in self.listing(folder))
        return sorted(place for place in found if place.lower().endswith(EXTENSIONS) and place not in known)
