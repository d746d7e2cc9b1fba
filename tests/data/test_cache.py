from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted_images import CountedImages
from filelock import FileLock
from forking import warm_context
from PIL import Image

from sslkit.data.cache import ImageCache, build_cache
from sslkit.data.cache_root import default_cache_root, local_root
from sslkit.data.claims import claim
from sslkit.data.fingerprints import digests_of
from sslkit.data.image_statistics import STATISTICS
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.shards import content_key, shard_folder
from sslkit.errors import ConfigError, RunError, StorageError

SMALL = Preprocessing(8, "center")
NUM_IMAGES = 20  # more than a chunk


@pytest.fixture(scope="module")
def context() -> BaseContext:
    return warm_context()


@pytest.fixture
def images(tmp_path: Path) -> CountedImages:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row in range(NUM_IMAGES):
        pixels = rng.integers(0, 256, (16 + row, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row:02d}.png")
    return CountedImages(folder, tmp_path / "log")


def build(images: CountedImages, root: Path, context: BaseContext, **options: Any) -> ImageCache:
    options = {"preprocessing": SMALL, "workers": 2, **options}
    return build_cache(images, images.records(), root=root, context=context, **options)


def shards(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.glob("images/*/*"))


def shard_of(cache: ImageCache, place: int = 0) -> Path:
    return shard_folder(cache.root, cache.shards.keys[place])


def test_each_row_is_its_image_and_a_second_call_reads_none(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    (images.folder / "pixels").write_bytes(b"pixels")
    records = images.records()
    seen: list[tuple[int, int]] = []
    cache = build(images, tmp_path / "cache", context, progress=lambda *counts: seen.append(counts))
    assert images.reads() == [record.id for record in records]
    assert sorted(seen) in ([(5, 21), (21, 21)], [(16, 21), (21, 21)])
    assert cache.unreadable == {}
    assert cache.folder.parents[1] == tmp_path / "cache" / "sets"
    assert (cache.decoded, shard_of(cache).parents[1]) == (21, tmp_path / "cache" / "images")

    rows = cache.open()
    assert (rows.shape, rows.dtype, rows[:].flags.writeable) == ((21, 8, 8, 3), np.uint8, False)
    images.log.unlink()
    seen.clear()
    again = build(images, tmp_path / "cache", context, progress=lambda *counts: seen.append(counts))
    assert (again, again.decoded, images.reads(), seen) == (cache, 0, [], [(21, 21)])
    for row, record in enumerate(records):
        np.testing.assert_array_equal(rows[row], SMALL.apply(images.read(record)))
    assert len({row.tobytes() for row in rows}) == 21
    assert shards(tmp_path / "cache") == [*cache.shards.keys]


def test_one_process_gives_the_same_rows_as_several(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    one, several = (build(images, tmp_path / str(workers), context, workers=workers) for workers in (1, 3))
    assert one.folder.name == several.folder.name
    assert (shard_of(one) / "images.npy").read_bytes() == (shard_of(several) / "images.npy").read_bytes()


def test_unreadable_images_are_named_and_the_rest_are_right(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    (images.folder / "03.png").write_bytes(b"no image")
    (images.folder / "05.png").write_bytes(b"refuse")
    (images.folder / "17.png").write_bytes((images.folder / "17.png").read_bytes()[:200])
    (images.folder / "18.png").unlink()
    (images.folder / "18.png").symlink_to("nothing")
    cache = build(images, tmp_path / "cache", context)
    assert list(cache.unreadable) == [3, 5, 17, 18]
    assert cache.unreadable[5] == "05.png is refused"
    assert re.search(r"No such file or directory: '.*18\.png'", cache.unreadable[18])
    assert all(reason and "\n" not in reason for reason in cache.unreadable.values())
    rows = cache.open()
    for row, record in enumerate(images.records()):
        expected = np.zeros((8, 8, 3)) if row in cache.unreadable else SMALL.apply(images.read(record))
        np.testing.assert_array_equal(rows[row], expected)
    assert build(images, tmp_path / "cache", context) == cache


def test_an_image_that_was_mended_is_decoded(images: CountedImages, tmp_path: Path, context: BaseContext) -> None:
    whole = (images.folder / "03.png").read_bytes()
    (images.folder / "03.png").unlink()
    (images.folder / "03.png").symlink_to("nothing")
    assert list(build(images, tmp_path / "cache", context).unreadable) == [3]
    (images.folder / "03.png").unlink()
    (images.folder / "03.png").write_bytes(whole)
    assert build(images, tmp_path / "cache", context).unreadable == {}


def test_the_key_is_the_content_and_what_is_done_to_it() -> None:
    ab = digests_of(["a", "b"])
    keys = [
        content_key(ab, Preprocessing(8, "center")),
        content_key(digests_of(["a", "c"]), Preprocessing(8, "center")),
        content_key(digests_of(["b", "a"]), Preprocessing(8, "center")),
        content_key(digests_of(["ab"]), Preprocessing(8, "center")),
        content_key(ab, Preprocessing(9, "center")),
        content_key(ab, Preprocessing(8, "fundus")),
        content_key(ab, Preprocessing(8, "none")),
        content_key(ab, Preprocessing(8, "center", max_pixels=99)),
    ]
    assert len(set(keys)) == len(keys)
    assert content_key(ab.copy(), Preprocessing(8, "center")) == keys[0]


def test_a_cache_of_another_version_is_not_used(
    images: CountedImages, tmp_path: Path, context: BaseContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(images, tmp_path / "cache", context)
    monkeypatch.setattr("sslkit.data.shards.CACHE_VERSION", -1)
    second = build(images, tmp_path / "cache", context)
    assert second.folder != first.folder
    assert len(images.reads()) == 2 * NUM_IMAGES


def test_changed_content_is_another_cache_and_another_name_is_not(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    first = build(images, tmp_path / "cache", context)
    images.folder.rename(tmp_path / "moved")
    moved = CountedImages(tmp_path / "moved", images.log)
    assert build(moved, tmp_path / "cache", context) == first
    (tmp_path / "moved" / "00.png").write_bytes((tmp_path / "moved" / "01.png").read_bytes())
    changed = build(moved, tmp_path / "cache", context)
    assert shards(tmp_path / "cache") == sorted([*first.shards.keys, *changed.shards.keys])
    rows = changed.open()
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], first.open()[0])


@pytest.mark.parametrize("name", ["images.npy", "statistics.npy", "headers.npy", "index.json", "SHA256SUMS"])
@pytest.mark.parametrize("how", ["cut short", "one bit", "gone", "emptied"])
def test_decoded_images_that_were_damaged_are_named_and_decoded_anew(
    images: CountedImages, tmp_path: Path, context: BaseContext, name: str, how: str
) -> None:
    cache = build(images, tmp_path / "cache", context)
    path = shard_of(cache) / name
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "emptied":
        path.write_bytes(b"")
    else:
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + (b"" if how == "cut short" else bytes([content[middle] ^ 1])) + content[middle + 1 :]
        )
    images.log.unlink()
    told: list[str] = []

    again = build(images, tmp_path / "cache", context, warn=told.append)

    assert again == cache
    assert len(images.reads()) == NUM_IMAGES
    assert path.read_bytes() == content
    assert len(told) == 1
    assert re.search(
        rf"the decoded images in .*{shard_of(cache).name} are damaged and not used: .*; they are decoded", told[0]
    )
    assert shards(tmp_path / "cache") == [*cache.shards.keys]
    images.log.unlink()
    assert build(images, tmp_path / "cache", context, warn=told.append) == cache
    assert (images.reads(), len(told)) == ([], 1)


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


def test_where_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", "/tmp/given")
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/xdg")
    assert default_cache_root() == Path("/tmp/given")
    monkeypatch.setenv("SSLKIT_CACHE", "")
    assert default_cache_root() == Path("/tmp/xdg/sslkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_cache_root() == Path("/home/ann/.cache/sslkit")
    monkeypatch.delenv("SSLKIT_CACHE_LOCAL", raising=False)
    monkeypatch.setenv("SSLKIT_CACHE", "s3://bucket/cache/")
    assert default_cache_root() == "s3://bucket/cache"
    assert local_root("s3://bucket/cache") == Path("/home/ann/.cache/sslkit")
    monkeypatch.setenv("SSLKIT_CACHE_LOCAL", "/scratch/cache")
    assert local_root("s3://bucket/cache") == Path("/scratch/cache")
    assert local_root(Path("/data/cache")) == Path("/data/cache")


@pytest.mark.parametrize(
    ("given", "problem"), [("s3:///", "names no bucket"), ("ftp://ann:x@host/c", "holds credentials")]
)
def test_a_url_of_a_cache_that_is_none(monkeypatch: pytest.MonkeyPatch, given: str, problem: str) -> None:
    monkeypatch.setenv("SSLKIT_CACHE", given)
    with pytest.raises(ConfigError, match=rf"^SSLKIT_CACHE: .*{problem}"):
        default_cache_root()


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


def test_headers_and_statistics_of_every_image_are_kept(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    (images.folder / "02.png").write_bytes(b"no image")
    cache = build(images, tmp_path / "cache", context)
    known = [row for row in range(NUM_IMAGES) if row != 2]
    headers = cache.headers()
    assert {tuple(header) for header in headers[known].tolist()} == {(b"PNG", b"RGB", 8)}
    assert headers[2].item() == (b"", b"", 0)
    assert np.isnan(cache.statistics()[2]).all()
    heights = cache.statistics()[known, STATISTICS.index("height")]
    assert heights.tolist() == [16 + row for row in known]
