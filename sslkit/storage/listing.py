"""Which objects there are: one listing of what begins alike, and never a question an object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sslkit.errors import DataError
from sslkit.storage.access import file_system, told, uncached
from sslkit.storage.objects import StoredObject, digest_of
from sslkit.storage.url import StorageURL

_AT_A_TIME = 8
"""Folders that are listed at once; a store gives a page of 1,000 names and then waits for the next question."""

_SINGLY = 64
"""Folders that are listed one by one before all are listed as one."""


def list_objects(root: StorageURL, options: Mapping[str, Any]) -> Iterator[tuple[str, StoredObject]]:
    """Yield each object below a folder, with its name below it; in no certain order.

    Args:
        root: the folder.
        options: what fsspec is given beside the URL.

    Raises:
        DataError: if there is no such bucket, or it cannot be listed.
    """
    objects, folders = _look_into(root, options)
    yield from objects.items()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        below = [pool.submit(_list_below, root, folder, options) for folder in folders]
        below.reverse()
        try:
            while below:  # each is let go once it has been gone through
                yield from below.pop().result()
        finally:
            pool.shutdown(cancel_futures=True)  # of a million folders, after one that cannot be listed


class StoredFolders:
    """Folders below a root, each listed when it is first asked for; where many are, all that is below is listed once.

    Args:
        root: the folder that all others lie in.
        options: what fsspec is given beside the URL.
    """

    def __init__(self, root: StorageURL, options: Mapping[str, Any]) -> None:
        self.root = root
        self._options = dict(options)
        self._folders: dict[str, dict[str, StoredObject]] = {}
        self._is_whole = False

    def listing(self, folder: str) -> Mapping[str, StoredObject]:
        """Return the objects that lie directly in a folder, by their names; none where there is no such folder.

        Args:
            folder: its name below the root, without slashes at its ends; empty for the root itself.

        Raises:
            DataError: if it cannot be listed.
        """
        if folder not in self._folders and not self._is_whole:
            if len(self._folders) < _SINGLY:
                url = self.root / folder if folder else self.root
                self._folders[folder] = _look_into(url, self._options)[0]
            else:
                self._list_all()
        return self._folders.get(folder, {})

    def _list_all(self) -> None:
        self._folders, self._is_whole = {}, True
        for path, stored in list_objects(self.root, self._options):
            folder, _, name = path.rpartition("/")
            self._folders.setdefault(folder, {})[name] = stored


def _look_into(folder: StorageURL, options: Mapping[str, Any]) -> tuple[dict[str, StoredObject], list[str]]:
    """Return the objects directly in a folder, and the names of the folders in it; nothing where there is none."""
    system = file_system(folder, options)
    place = system._strip_protocol(folder)
    try:
        with told(folder, "listed"), uncached(system):
            try:
                entries = system.ls(place, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                entries = []
    except OSError as error:
        raise DataError(str(error)) from None
    found = [(name, entry) for entry in entries if (name := _below(entry["name"], place)) is not None]
    objects = {name: _stored(folder / name, entry) for name, entry in found if entry["type"] == "file"}
    return objects, sorted(name for name, entry in found if entry["type"] == "directory")


def _list_below(root: StorageURL, folder: str, options: Mapping[str, Any]) -> list[tuple[str, StoredObject]]:
    system = file_system(root, options)
    place = system._strip_protocol(root)
    try:
        with told(root / folder, "listed"), uncached(system):
            return list(_entries(system, root, place, system._strip_protocol(root / folder)))
    except OSError as error:
        raise DataError(str(error)) from None


def _entries(system: Any, root: StorageURL, place: str, folder: str) -> Iterable[tuple[str, StoredObject]]:
    """Return what lies at any depth below a folder, with its names below the root's place."""

    def named(entry: Mapping[str, Any]) -> Iterator[tuple[str, StoredObject]]:
        if entry["type"] == "file" and (name := _below(entry["name"], place)) is not None:
            yield name, _stored(root / name, entry)

    if not hasattr(system, "_iterdir"):
        return (found for entry in system.find(folder, detail=True).values() for found in named(entry))

    # The find of s3fs sorts each folder into a list of all before it, which takes hours where a patient is a folder,
    # and holds all entries at a time; what it is made of gives them page by page.
    from fsspec.asyn import sync

    bucket, key, _ = system.split_path(folder)

    async def collect() -> list[tuple[str, StoredObject]]:
        pages = system._iterdir(bucket, delimiter="", prefix=f"{key}/")
        return [found async for entry in pages for found in named(entry)]

    entries: list[tuple[str, StoredObject]] = sync(system.loop, collect)
    return entries


def _below(path: str, place: str) -> str | None:
    """Return the name below a place; None for what is not below it, and for what stands for a folder."""
    start = f"{place.rstrip('/')}/"
    return path[len(start) :] if path.startswith(start) and len(path) > len(start) and path[-1] != "/" else None


def _stored(url: StorageURL, entry: Mapping[str, Any]) -> StoredObject:
    size = entry.get("size")
    return StoredObject(str(url), None if size is None else int(size), digest_of(entry, url))
