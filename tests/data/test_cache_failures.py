"""What is damaged, broken off, killed or done twice at once."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pytest
from counted_images import CountedImages
from filelock import FileLock
from small_cache import SMALL, build, shard_of, shards

from sslkit.data.cache import ImageCache
from sslkit.data.claims import claim
from sslkit.errors import RunError, StorageError

NUM_IMAGES = 20


def test_decoded_images_that_were_damaged_are_named_and_decoded_anew(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    cache = build(images, tmp_path / "cache", context, per_shard=1)
    names = ("images.npy", "statistics.npy", "headers.npy", "index.json", "SHA256SUMS")
    paths = [shard_of(cache, 4 * number + how) / name for number, name in enumerate(names) for how in range(4)]
    contents = [path.read_bytes() for path in paths]
    assert len({path.parent for path in paths}) == NUM_IMAGES
    for place, (path, content) in enumerate(zip(paths, contents, strict=True)):
        before, byte, after = content[: len(content) // 2], content[len(content) // 2], content[len(content) // 2 + 1 :]
        if place % 4 == 0:
            path.unlink()
        else:
            path.write_bytes((b"", before + after, before + bytes([byte ^ 1]) + after)[place % 4 - 1])
    images.log.unlink()
    told: list[str] = []

    again = build(images, tmp_path / "cache", context, per_shard=1, warn=told.append)

    assert again == cache
    assert len(images.reads()) == NUM_IMAGES
    assert [path.read_bytes() for path in paths] == contents
    assert len(told) == NUM_IMAGES
    for path, text in zip(paths, told, strict=True):
        wanted = rf"the decoded images in .*{path.parent.name} are damaged and not used: .*; they are decoded anew"
        assert re.search(wanted, text)
    assert shards(tmp_path / "cache") == sorted(cache.shards.keys)
    images.log.unlink()
    assert build(images, tmp_path / "cache", context, per_shard=1, warn=told.append) == cache
    assert (images.reads(), len(told)) == ([], NUM_IMAGES)


def test_what_a_killed_run_had_begun_is_removed_and_what_another_is_at_is_not(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    root = tmp_path / "cache"
    abandoned, busy = (root / "images" / "ab" / f".ab{number}-0a0b.part" for number in (1, 2))
    for scratch in (abandoned, busy):
        scratch.mkdir(parents=True)
        (scratch / "images.npy").write_bytes(b"half")
    held = claim(root, "ab2")
    assert held is not None
    cache = build(images, root, context)
    assert shards(root) == sorted([busy.name, *cache.shards.keys])
    held.release()
    assert build(images, root, context) == cache
    assert shards(root) == [*cache.shards.keys]


def test_a_full_disk_is_told_before_anything_is_decoded(
    images: CountedImages, tmp_path: Path, context: BaseContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    message = r"cannot write .*images\.npy: No space left on device; free some space\. Then run the same command again"
    with pytest.raises(StorageError, match=message):
        build(images, tmp_path / "cache", context)
    assert (images.reads(), shards(tmp_path / "cache")) == ([], [])


def test_an_interrupted_build_leaves_nothing(images: CountedImages, tmp_path: Path, context: BaseContext) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(images, tmp_path / "cache", context, progress=interrupt)
    assert shards(tmp_path / "cache") == []
    assert build(images, tmp_path / "cache", context).unreadable == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_an_error_and_leaves_nothing(
    images: CountedImages, tmp_path: Path, context: BaseContext, workers: int
) -> None:
    (images.folder / "00.png").write_bytes(b"kill")
    message = (
        r"^a process that decodes images died: out of memory or of disk\? Run the same command again, "
        r"with --set compute\.workers=1 if it recurs\. A script that calls sslkit\.run needs "
    )
    with pytest.raises(RunError, match=message):
        build(images, tmp_path / "cache", context, workers=workers)
    assert shards(tmp_path / "cache") == []


def test_a_second_run_waits_for_the_shard_that_the_first_is_at(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    others: list[Future[ImageCache]] = []

    def join(done: int, total: int) -> None:
        if not others:
            others.append(pool.submit(build, images, tmp_path / "cache", context, workers=1))

    with ThreadPoolExecutor(1) as pool:
        first = build(images, tmp_path / "cache", context, progress=join)
        second = others[0].result()
    assert (first, first.decoded, second.decoded) == (second, NUM_IMAGES, 0)
    assert images.reads() == [record.id for record in images.records()]
    assert shards(tmp_path / "cache") == [*first.shards.keys]


def test_where_there_are_no_locks_both_decode_and_have_the_same(
    images: CountedImages, tmp_path: Path, context: BaseContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLocks(FileLock):
        def _acquire(self) -> None:
            raise NotImplementedError("FileSystem does not appear to support flock; use SoftFileLock instead")

    others: list[ImageCache] = []

    def overtake(done: int, total: int) -> None:
        if done == total and not others:
            others.append(build(images, tmp_path / "cache", context, workers=1))

    monkeypatch.setattr("sslkit.data.claims.FileLock", NoLocks)
    slow = build(images, tmp_path / "cache", context, progress=overtake)
    assert others == [slow]
    assert images.reads() == sorted(2 * [record.id for record in images.records()])
    assert shards(tmp_path / "cache") == [*slow.shards.keys]
    np.testing.assert_array_equal(slow.open()[7], SMALL.apply(images.read(images.records()[7])))


def test_what_a_disk_refused_is_tried_again(images: CountedImages, tmp_path: Path, context: BaseContext) -> None:
    images.busy.write_text("04.png")
    first = build(images, tmp_path / "cache", context)
    assert first.unreadable == {4: "the disk is busy"}
    images.busy.unlink()

    again = build(images, tmp_path / "cache", context)

    assert (again.folder, again.unreadable) == (first.folder, {})
    assert np.array_equal(again.open()[4], SMALL.apply((images.folder / "04.png").read_bytes()))
    assert images.reads().count("04.png") == 2
    assert images.reads().count("05.png") == 1
