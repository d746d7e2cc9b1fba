"""Caches in object storage that is damaged, breaks off, refuses or is not there."""

from __future__ import annotations

import builtins
import re
import socket
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_cache
from counted_images import CountedImages
from object_store import SECRET
from small_cache import decoded, few_images, objects, shards

from sslkit.checksums import SUMS, flaws, seal
from sslkit.data.cache import ImageCache
from sslkit.data.object_store import ObjectStore
from sslkit.data.shards import place_of, shard_folder
from sslkit.errors import StorageError

fsspec = pytest.importorskip("fsspec")

NUM_IMAGES = 10
PER_SHARD = 4


@pytest.fixture
def images(tmp_path: Path) -> CountedImages:
    return few_images(tmp_path)


def build(images: CountedImages, url: str, context: BaseContext, **options: Any) -> ImageCache:
    return small_cache.build(images, url, context, **{"workers": 1, "per_shard": PER_SHARD, **options})


def test_half_a_shard_in_the_store_does_not_count(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any
) -> None:
    machine("first")
    first = build(images, bucket, context)
    files, root = fsspec.core.url_to_fs(bucket)
    files.rm_file(f"{root}/{place_of(first.shards.keys[1])}/{SUMS}")
    images.log.unlink()
    machine("second")
    second = build(images, bucket, context)
    assert (second.decoded, images.reads()) == (4, ["04.png", "05.png", "06.png", "07.png"])
    assert f"{place_of(first.shards.keys[1])}/{SUMS}" in objects(bucket)
    np.testing.assert_array_equal(second.open()[:], decoded(images))


def test_the_seal_is_sent_last(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def note(self: object, here: str, there: str) -> None:
        sent.append(Path(there).name)

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.put_file", note)
    folder = shard_folder(machine("first"), "abc")
    folder.mkdir(parents=True)
    for name in ("z", "A"):
        (folder / name).write_text(name)
    seal(folder, ["z", "A"])
    ObjectStore(f"file://{folder}/far").put(folder, "images/ab/abc")
    assert sent == ["A", "z", SUMS]


def test_what_is_damaged_in_the_store_is_not_used(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any
) -> None:
    machine("first")
    first = build(images, bucket, context)
    files, root = fsspec.core.url_to_fs(bucket)
    name = place_of(first.shards.keys[0])
    files.pipe_file(f"{root}/{name}/images.npy", b"another")
    second = machine("second")
    message = rf"^{bucket}/{name} is damaged and not used: images\.npy does not fit its checksum; delete it, and run"
    with pytest.raises(StorageError, match=message):
        build(images, bucket, context).open()[0]
    assert shards(second) == []
    files.rm(f"{root}/{name}", recursive=True)
    assert build(images, bucket, context).decoded == PER_SHARD


def test_checksums_that_were_cut_short_in_the_store_vouch_for_nothing(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any
) -> None:
    machine("first")
    first = build(images, bucket, context)
    files, root = fsspec.core.url_to_fs(bucket)
    for place in (place_of(first.shards.keys[0]), place_of(first.folder.name, "sets")):
        seal = f"{root}/{place}/{SUMS}"
        files.pipe_file(seal, files.cat_file(seal).splitlines(keepends=True)[0])
    second = machine("second")
    cache = build(images, bucket, context)
    assert flaws(cache.folder, ["digests.npy", "index.json"]) == []
    with pytest.raises(StorageError, match=r"images/.* is damaged and not used: images\.npy has no checksum in SHA256"):
        cache.open()[0]
    assert shards(second) == []


def test_what_is_written_again_vouches_for_nothing_until_it_is_whole(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("first")
    images.busy.write_text("06.png")
    cache = build(images, bucket, context)
    images.busy.unlink()
    files = fsspec.core.url_to_fs(bucket)[0]

    def break_off(here: str, there: str) -> None:
        raise ConnectionError("the store is gone")

    with monkeypatch.context() as patch:
        patch.setattr(files, "put_file", break_off)
        with pytest.raises(StorageError, match="cannot be written to: ConnectionError: the store is gone"):
            build(images, bucket, context)
    name = place_of(cache.shards.keys[1])
    assert ObjectStore(bucket).seal_of(name) is None
    assert build(images, bucket, context).unreadable == {}
    machine("second")
    np.testing.assert_array_equal(build(images, bucket, context).open()[6], decoded(images)[6])


@pytest.mark.parametrize("far", ["whole", "damaged"])
def test_what_is_damaged_here_is_fetched_or_decoded_anew(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any, far: str
) -> None:
    here = machine("first")
    cache = build(images, bucket, context)
    key = cache.shards.keys[1]
    (shard_folder(here, key) / "images.npy").write_bytes(b"cut")
    if far == "damaged":
        files, root = fsspec.core.url_to_fs(bucket)
        files.pipe_file(f"{root}/{place_of(key)}/images.npy", b"cut")
    images.log.unlink()
    told: list[str] = []
    again = build(images, bucket, context, warn=told.append)
    assert len(told) == 1
    assert re.search(r"images\.npy does not fit its checksum; they are fetched anew$", told[0])
    assert len(images.reads()) == (0 if far == "whole" else PER_SHARD)
    np.testing.assert_array_equal(again.open()[:], decoded(images))
    machine("second")
    np.testing.assert_array_equal(build(images, bucket, context).open()[:], decoded(images))


def test_what_was_refused_in_passing_is_mended_in_the_store_too(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any
) -> None:
    machine("first")
    images.busy.write_text("06.png")
    assert build(images, bucket, context).unreadable == {6: "the disk is busy"}
    images.busy.unlink()
    machine("second")
    assert build(images, bucket, context).unreadable == {}
    machine("third")
    third = build(images, bucket, context)
    assert third.unreadable == {}
    np.testing.assert_array_equal(third.open()[6], decoded(images)[6])


def test_a_bucket_that_there_is_not_is_told_before_anything_is_decoded(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any
) -> None:
    machine("first")
    with pytest.raises(StorageError, match=r"^s3://nobodys/x cannot be written to: .*bucket does not exist\. Check"):
        build(images, "s3://nobodys/x", context)
    assert images.reads() == []


def test_a_server_that_does_not_answer_is_told_with_its_url_and_without_secrets(
    images: CountedImages,
    context: BaseContext,
    machine: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3fs = pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()  # which knows the server of other tests
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free.getsockname()[1]}")
    machine("first")
    with pytest.raises(StorageError, match=r"^s3://b/x cannot be read: .*onnect.*\(its credentials come from") as told:
        build(images, "s3://b/x", context)
    s3fs.S3FileSystem.clear_instance_cache()
    assert SECRET not in str(told.value)
    assert told.value.__suppress_context__


def test_secrets_of_the_environment_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def _strip_protocol(self, url: str) -> str:
            return url.partition("://")[2]

        def cat_file(self, path: str) -> bytes:
            raise PermissionError(f"{path}: the key {SECRET} \x1b[2J is\nrefused")

    monkeypatch.setenv("MY_SECRET_KEY", SECRET)
    monkeypatch.setattr("fsspec.filesystem", lambda scheme: Refusing())
    with pytest.raises(StorageError) as told:
        ObjectStore("s3://b").seal_of("images/ab/abc")
    assert str(told.value).startswith(
        r"s3://b cannot be read: PermissionError: b/images/ab/abc/SHA256SUMS: the key *** \x1b[2J is refused."
    )


def test_without_fsspec_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *arguments: Any, **others: Any) -> Any:
        if name.partition(".")[0] == "fsspec":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *arguments, **others)

    monkeypatch.setattr("builtins.__import__", lacking)
    with pytest.raises(
        StorageError, match=r"^s3:// needs another package: pip install 'sslkit\[storage\]' \(No module named 'fsspec'"
    ):
        ObjectStore("s3://b/x").seal_of("a")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense://b/x", r"^nonsense:// cannot be used: ValueError: Protocol not known: nonsense"),
        ("az://b/x", r"^az:// needs another package: pip install adlfs \(Install adlfs"),
    ],
)
def test_a_protocol_that_nothing_speaks(url: str, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        ObjectStore(url).seal_of("a")


def test_a_disk_that_is_full_is_no_fault_of_the_storage(
    images: CountedImages, context: BaseContext, machine: Any, tmp_path: Path
) -> None:
    machine("first")
    cache = build(images, f"file://{tmp_path}/share", context)
    with pytest.raises(StorageError, match=r"^cannot write .*gone/SHA256SUMS: .*its folder is not there"):
        ObjectStore(f"file://{tmp_path}/share").get(place_of(cache.shards.keys[0]), tmp_path / "gone", [])
