from __future__ import annotations

import re
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pytest
from counted_images import CountedImages
from small_cache import SMALL, build, shard_of, shards

from sslkit.data.fingerprints import digests_of
from sslkit.data.image_statistics import STATISTICS
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.shards import content_key

NUM_IMAGES = 20


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
