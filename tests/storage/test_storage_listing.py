"""One listing of what begins alike, and never a question an object."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from object_store import ObjectStore

from sslkit.errors import DataError
from sslkit.storage import StorageURL, StoredFolders, list_objects, listing

fsspec = pytest.importorskip("fsspec")

NAMES = ["root.png", "a/1.png", "a/deep/er/2.png", "b/a b#?%20ü'\".png", "b/..png", "c[1-9]*/x.png", "a/#/y.png"]


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def below(root: str, options: dict[str, Any] | None = None) -> dict[str, int | None]:
    return {name: stored.size for name, stored in list_objects(StorageURL.parse(root), options or {})}


def test_everything_below_is_listed_and_nothing_beside(memory: Any) -> None:
    for number, name in enumerate(NAMES):
        memory.pipe(f"/box/train/{name}", b"x" * number)
    memory.pipe("/box/train-private/no.png", b"")
    memory.pipe("/box/other.png", b"")
    assert below("memory://box/train") == {name: number for number, name in enumerate(NAMES)}
    assert below("memory://box/nothing") == {}


def test_s3_lists_the_same_with_checksums(object_store: ObjectStore) -> None:
    object_store.put("listing", {f"train/{name}": b"x" * number for number, name in enumerate(NAMES)})
    object_store.put("listing", {"train/": b"", "train/a/": b"", "train-private/no.png": b"", "a.png": b""})
    found = dict(list_objects(StorageURL.parse("s3://listing/train"), object_store.options))
    assert {name: stored.size for name, stored in found.items()} == {name: size for size, name in enumerate(NAMES)}
    assert {stored.url for stored in found.values()} == {f"s3://listing/train/{name}" for name in NAMES}
    assert len({stored.digest for stored in found.values()}) == len(NAMES)
    assert "a.png" in below("s3://listing", object_store.options)


def test_a_changed_object_has_another_digest_and_a_copy_the_same(object_store: ObjectStore) -> None:
    def digests() -> dict[str, str]:
        return {name: stored.digest for name, stored in list_objects(url, object_store.options)}

    url = StorageURL.parse("s3://digests")
    object_store.put("digests", {"a.png": b"one", "b.png": b"one", "c.png": b"two"})
    first = digests()
    assert first["a.png"] == first["b.png"] != first["c.png"]
    object_store.put("digests", {"a.png": b"new"})
    assert digests()["a.png"] not in first.values()
    assert digests()["b.png"] == first["b.png"]


def test_a_bucket_that_is_not_there_is_empty(object_store: ObjectStore) -> None:
    assert below("s3://there-is-no-such-bucket/a", object_store.options) == {}


def test_a_folder_that_cannot_be_listed_ends_it_before_the_others_are_asked_for(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe({f"/box/{number:03}/x.png": b"x" for number in range(200)})
    asked: list[str] = []

    def find(system: object, folder: str, **_: object) -> dict[str, Any]:
        asked.append(folder)
        if not folder.endswith("000"):
            time.sleep(0.2)  # however slow the machine is, the others have not all had their turn by then
        raise OSError(errno.EBUSY, "SlowDown")

    monkeypatch.setattr(type(memory), "find", find)
    with pytest.raises(DataError, match=r"memory://box/000 cannot be listed: OSError: SlowDown$"):
        below("memory://box")
    assert len(asked) < 200


def test_folders_are_listed_once_each(memory: Any) -> None:
    memory.pipe({"/box/a/1.png": b"1", "/box/a/2.png": b"22", "/box/3.png": b"333"})
    folders = StoredFolders(StorageURL.parse("memory://box"), {})
    with patch.object(type(memory), "ls", autospec=True, side_effect=type(memory).ls) as ls:
        for _ in range(3):
            assert {name: stored.size for name, stored in folders.listing("a").items()} == {"1.png": 1, "2.png": 2}
            assert list(folders.listing("")) == ["3.png"]
            assert folders.listing("gone") == {}
        assert ls.call_count == 3


def test_many_folders_are_listed_as_one(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_SINGLY", 5)
    memory.pipe({f"/box/images/{n}/{n}.png": b"x" for n in range(200)})
    folders = StoredFolders(StorageURL.parse("memory://box"), {})
    with patch.object(listing, "_look_into", wraps=listing._look_into) as look:
        for number in range(200):
            assert list(folders.listing(f"images/{number}")) == [f"{number}.png"]
        assert folders.listing("gone") == {}
        assert look.call_count == 6


class Refusing:
    def _strip_protocol(self, place: str) -> str:
        return place

    def invalidate_cache(self) -> None:
        pass

    def ls(self, *_: object, **__: object) -> list[Any]:
        raise OSError(errno.EBUSY, "SlowDown")


def test_what_cannot_be_listed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "file_system", lambda *_: Refusing())
    with pytest.raises(DataError, match=r"s3://bucket/a cannot be listed: OSError: SlowDown$"):
        below("s3://bucket/a")


def test_what_is_denied_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refusing, "ls", lambda *_, **__: (_ for _ in ()).throw(PermissionError("Access Denied")))
    monkeypatch.setattr(listing, "file_system", lambda *_: Refusing())
    with pytest.raises(DataError, match="s3://bucket/a may not be listed: PermissionError: Access Denied; credentials"):
        below("s3://bucket/a")
