"""Caches in object storage: against a server of S3 on this machine, a disk, and the memory of the process."""

from __future__ import annotations

import builtins
import pickle
import re
import shutil
import socket
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted_images import CountedImages
from forking import warm_context
from object_store import SECRET
from object_store import ObjectStore as Store
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit.checksums import SUMS, flaws, seal
from sslkit.data.cache import ImageCache, build_cache
from sslkit.data.object_store import ObjectStore
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.shards import place_of, shard_folder
from sslkit.errors import StorageError
from sslkit.experiment.running import RunResult

fsspec = pytest.importorskip("fsspec")

SMALL = Preprocessing(8, "center")
NUM_IMAGES = 10
PER_SHARD = 4


@pytest.fixture(scope="module")
def context() -> BaseContext:
    return warm_context()


@pytest.fixture
def bucket(object_store: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URL of a bucket that is empty."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", object_store.endpoint)
    name = "b" + re.sub("[^a-z0-9]", "", request.node.name.lower())[:50]
    object_store.put(name, {})
    return f"s3://{name}"


@pytest.fixture(params=["s3", "memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a cache may be."""
    if request.param == "s3":
        yield f"{request.getfixturevalue('bucket')}/caches/ours"
    elif request.param == "file":
        yield f"file://{tmp_path}/share/cache"
    else:
        yield "memory://cache"
        fsspec.filesystem("memory").rm("/cache", recursive=True)


@pytest.fixture
def images(tmp_path: Path) -> CountedImages:
    (tmp_path / "images").mkdir()
    for row in range(NUM_IMAGES):
        pixels = np.random.default_rng(row).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{row:02d}.png")
    return CountedImages(tmp_path / "images", tmp_path / "log")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes this process one of several machines, each with a disk of its own."""

    def become(name: str) -> Path:
        monkeypatch.setenv("SSLKIT_CACHE_LOCAL", str(tmp_path / name))
        return tmp_path / name

    return become


def build(images: CountedImages, url: str, context: BaseContext, **options: Any) -> ImageCache:
    options = {"workers": 1, "per_shard": PER_SHARD, **options}
    return build_cache(images, images.records(), SMALL, root=url, context=context, **options)


def decoded(images: CountedImages) -> np.ndarray[Any, Any]:
    return np.stack([SMALL.apply((images.folder / record.id).read_bytes()) for record in images.records()])


def objects(url: str) -> list[str]:
    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    return sorted(name.removeprefix(root).lstrip("/") for name in files.find(root))


def shards(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("images/*/*"))


def test_a_second_machine_fetches_what_the_first_has_decoded_as_it_uses_it(
    images: CountedImages, url: str, context: BaseContext, machine: Any
) -> None:
    machine("first")
    first = build(images, url, context)
    assert (first.decoded, first.url) == (NUM_IMAGES, url)
    names = {f"{place_of(key)}/{file}" for key in first.shards.keys for file in ("images.npy", "index.json", SUMS)}
    assert names < set(objects(url))
    np.testing.assert_array_equal(first.open()[:], decoded(images))
    images.log.unlink()

    second = machine("second")
    cache = build(images, url, context)
    assert (cache.decoded, images.reads(), shards(second)) == (0, [], [])
    assert (cache.folder.name, cache.shards, cache.unreadable) == (first.folder.name, first.shards, {})
    np.testing.assert_array_equal(cache.open()[[9, 8]], decoded(images)[[9, 8]])
    assert shards(second) == [cache.shards.keys[2]]
    assert flaws(shard_folder(second, cache.shards.keys[2])) == []
    assert cache.statistics().shape == (NUM_IMAGES, 16)
    assert shards(second) == sorted(cache.shards.keys)
    assert [*second.rglob("*.part")] == []


def test_a_job_on_a_machine_without_the_cache_fetches_what_it_uses(
    images: CountedImages, url: str, context: BaseContext, machine: Any, tmp_path: Path
) -> None:
    machine("first")
    sent = pickle.dumps(build(images, url, context))
    shutil.rmtree(tmp_path / "first")
    second = machine("second")
    cache: ImageCache = pickle.loads(sent)
    np.testing.assert_array_equal(cache.open()[5], decoded(images)[5])
    assert shards(second) == [cache.shards.keys[1]]
    assert not (tmp_path / "first").exists()


def test_what_was_found_out_about_the_images_travels_with_them(
    images: CountedImages, url: str, context: BaseContext, machine: Any
) -> None:
    machine("first")
    first = build(images, url, context)
    (first.folder / "duplicates.json").write_text("{}")
    seal(first.folder, ["duplicates.json"])
    first.share()
    machine("second")
    second = build(images, url, context)
    assert (second.folder / "duplicates.json").read_text() == "{}"
    assert flaws(second.folder, ["duplicates.json", "digests.npy"]) == []
    np.testing.assert_array_equal(second.digests(), first.digests())


def test_shards_that_were_decoded_before_there_was_a_store_are_sent(
    images: CountedImages, bucket: str, context: BaseContext, machine: Any
) -> None:
    here = machine("first")
    build_cache(images, images.records(), SMALL, root=here, workers=1, context=context, per_shard=PER_SHARD)
    images.log.unlink()
    cache = build(images, bucket, context)
    assert (cache.decoded, images.reads()) == (0, [])
    assert {f"{place_of(key)}/{SUMS}" for key in cache.shards.keys} < set(objects(bucket))


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


def test_the_seal_is_sent_last(images: CountedImages, context: BaseContext, machine: Any, tmp_path: Path) -> None:
    machine("first")
    cache = build(images, f"file://{tmp_path}/share", context, per_shard=NUM_IMAGES)
    (folder,) = (tmp_path / "share" / "images").glob("*/*")
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert max(times, key=lambda name: times[name]) == SUMS
    assert folder.name == cache.shards.keys[0]


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


@pytest.mark.slow
def test_a_run_comes_to_the_same_wherever_its_images_are(
    bucket: str, machine: Any, tmp_path: Path, tiny_run: RunResult
) -> None:
    machine("first")
    result = sslkit.run(tiny_config(images={"size": 32, "crop": "fundus", "cache": bucket}), tmp_path / "run")
    for name in ("results.csv", "summary.csv", "splits.json", "audit.json"):
        here, there = (root / name for root in (result.directory.root, tiny_run.directory.root))
        assert here.read_bytes() == there.read_bytes()
    assert any(name.endswith("duplicates.json") for name in objects(bucket))
    assert SECRET not in (result.directory.root / "config.toml").read_text()
