"""Caches of many shards: what is decoded when images are added, damaged, shared or decoded by several at once."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_cache
from counted_images import CountedImages
from small_cache import SMALL, few_images, fill

from sslkit.checksums import flaws
from sslkit.data.cache import ImageCache
from sslkit.data.claims import claim
from sslkit.data.fingerprints import digests_of, fingerprint_all
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.shards import SHARD_BYTES, SHARD_FILES, images_per_shard, list_shards, place_of, shard_folder
from sslkit.errors import StorageError

NUM_IMAGES = 10
PER_SHARD = 4

BUILDER = """
import os, sys, time
from multiprocessing import get_context
from pathlib import Path
from counted_images import CountedImages
from sslkit.data.cache import build_cache
from sslkit.data.preprocessing import Preprocessing

if __name__ == "__main__":
    folder, log, root, pause, together = sys.argv[1:]
    Path(f"{log}-{os.getpid()}").touch()
    while len([*Path(log).parent.glob(f"{Path(log).name}-*")]) < int(together):
        time.sleep(0.01)
    images = CountedImages(Path(folder), Path(log))
    cache = build_cache(
        images, images.records(), Preprocessing(8, "center"), root=Path(root), workers=1, context=get_context("fork"),
        per_shard=4, progress=lambda done, total: time.sleep(float(pause)),
    )
    print(cache.folder.name, cache.decoded)
"""
"""Builds a cache, as soon as so many have come together; pauses after each chunk, so that others have a part."""


@pytest.fixture
def images(tmp_path: Path) -> CountedImages:
    return few_images(tmp_path)


def build(images: CountedImages, root: Path, context: BaseContext, **options: Any) -> ImageCache:
    return small_cache.build(images, root, context, **{"per_shard": PER_SHARD, **options})


def are_right(cache: ImageCache, images: CountedImages) -> bool:
    rows = cache.open()
    return all(
        np.array_equal(rows[row], SMALL.apply(images.read(record))) for row, record in enumerate(images.records())
    )


def folders(root: Path) -> list[Path]:
    return sorted(root.glob("images/*/*"))


def test_images_are_divided_by_their_positions(images: CountedImages, tmp_path: Path, context: BaseContext) -> None:
    seen: list[tuple[int, int]] = []
    cache = build(images, tmp_path / "cache", context, progress=lambda *counts: seen.append(counts))
    assert (len(cache.shards.keys), cache.decoded) == (3, NUM_IMAGES)
    assert [cache.shards.rows(place) for place in range(3)] == [range(4), range(4, 8), range(8, 10)]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (NUM_IMAGES, NUM_IMAGES)
    assert are_right(cache, images)
    assert cache.statistics().shape == (NUM_IMAGES, 16)
    assert cache.headers()["format"].tolist() == [b"PNG"] * NUM_IMAGES
    for folder in folders(tmp_path / "cache"):
        assert folder.parent.name == folder.name[:2]
        assert flaws(folder, SHARD_FILES) == []


def test_the_name_and_the_rows_do_not_depend_on_how_they_are_divided(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    (images.folder / "06.png").write_bytes(b"no image")
    caches = [build(images, tmp_path / "cache", context, per_shard=count) for count in (1, 4, 10, None)]
    assert len({cache.folder for cache in caches}) == 1
    assert [len(cache.shards.keys) for cache in caches] == [10, 3, 1, 1]
    assert len({cache.open()[:].tobytes() for cache in caches}) == 1
    assert [list(cache.unreadable) for cache in caches] == [[6]] * 4
    assert caches[2].shards.keys == caches[3].shards.keys


def test_images_that_are_appended_leave_all_but_the_last_shard(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    first = build(images, tmp_path / "cache", context)
    images.log.unlink()
    fill(images.folder, range(NUM_IMAGES, NUM_IMAGES + 3))
    second = build(images, tmp_path / "cache", context)
    assert images.reads() == [f"{row:02d}.png" for row in range(8, 13)]
    assert second.decoded == 5
    assert second.shards.keys[:2] == first.shards.keys[:2]
    assert second.folder != first.folder
    assert are_right(second, images)


def test_a_damaged_shard_alone_is_decoded_anew(images: CountedImages, tmp_path: Path, context: BaseContext) -> None:
    cache = build(images, tmp_path / "cache", context)
    path = shard_folder(cache.root, cache.shards.keys[1]) / "images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    images.log.unlink()
    told: list[str] = []
    again = build(images, tmp_path / "cache", context, warn=told.append)
    assert (again, again.decoded, path.read_bytes()) == (cache, 4, content)
    assert images.reads() == ["04.png", "05.png", "06.png", "07.png"]
    (warning,) = told
    assert f"{path.parent} are damaged and not used: images.npy does not fit its checksum; they are decoded" in warning


def test_data_sets_share_equal_shards(images: CountedImages, tmp_path: Path, context: BaseContext) -> None:
    whole = build(images, tmp_path / "cache", context)
    (tmp_path / "part").mkdir()
    for row in range(4, 10):
        shutil.copy(images.folder / f"{row:02d}.png", tmp_path / "part" / f"of-{row:02d}.png")
    part = build(CountedImages(tmp_path / "part", tmp_path / "log-of-part"), tmp_path / "cache", context)
    assert part.decoded == 0
    assert part.shards.keys == whole.shards.keys[1:]
    np.testing.assert_array_equal(part.open()[:], whole.open()[4:])


def test_equal_shards_of_one_data_set_are_one(images: CountedImages, tmp_path: Path, context: BaseContext) -> None:
    for row in range(4):
        shutil.copy(images.folder / f"{row:02d}.png", images.folder / f"{row + 4:02d}.png")
    (images.folder / "02.png").write_bytes(b"no image")
    (images.folder / "06.png").write_bytes(b"no image")
    seen: list[tuple[int, int]] = []
    cache = build(images, tmp_path / "cache", context, progress=lambda *counts: seen.append(counts))
    assert cache.shards.keys[0] == cache.shards.keys[1]
    assert (len(folders(tmp_path / "cache")), cache.decoded, seen[-1]) == (2, 6, (10, 10))
    assert list(cache.unreadable) == [2, 6]
    np.testing.assert_array_equal(cache.open()[:4], cache.open()[4:8])


def test_what_was_refused_in_passing_is_tried_again_in_its_shard_alone(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    images.busy.write_text("06.png")
    first = build(images, tmp_path / "cache", context)
    assert first.unreadable == {6: "the disk is busy"}
    images.busy.unlink()
    images.log.unlink()
    again = build(images, tmp_path / "cache", context)
    assert (again.unreadable, images.reads()) == ({}, ["06.png"])
    assert are_right(again, images)
    assert [flaws(folder, SHARD_FILES) for folder in folders(tmp_path / "cache")] == [[]] * 3


def test_a_disk_without_room_for_all_shards_is_told_before_anything_is_decoded(
    images: CountedImages, tmp_path: Path, context: BaseContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=NUM_IMAGES * 8 * 8 * 3 - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    message = (
        r"cannot write .*cache: the decoded images take 0\.0 GiB, of which 0\.0 are free; free some space, or give"
    )
    with pytest.raises(StorageError, match=message):
        build(images, tmp_path / "cache", context)
    assert (images.reads(), folders(tmp_path / "cache")) == ([], [])


def start(images: CountedImages, root: Path, pause: float, together: int) -> subprocess.Popen[str]:
    arguments = [str(images.folder), str(images.log), str(root), str(pause), str(together)]
    script = root.parent / "builder.py"
    script.write_text(BUILDER)
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        **{"stdout": subprocess.PIPE, "text": True, "env": {**os.environ, "PYTHONPATH": path}},
        start_new_session=True,
    )


def test_processes_that_build_at_once_decode_each_shard_once(images: CountedImages, tmp_path: Path) -> None:
    fill(images.folder, range(NUM_IMAGES, 40))
    started = [start(images, tmp_path / "cache", 0.3, 2) for _ in range(2)]
    ended = [process.communicate(timeout=120)[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    (key, first), (other, second) = ended
    assert key == other
    assert int(first) + int(second) == 40
    assert min(int(first), int(second)) > 0
    assert images.reads() == [record.id for record in images.records()]
    assert [path for path in (tmp_path / "cache").rglob("*.part")] == []


def test_what_a_killed_process_was_at_is_taken_over(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    slow = start(images, tmp_path / "cache", 60, 1)
    until = time.monotonic() + 60
    while not images.reads() and time.monotonic() < until:
        time.sleep(0.05)
    taken = [place for place in range(3) if claim(tmp_path / "cache", list_all(images)[place]) is None]
    assert taken
    os.killpg(slow.pid, signal.SIGKILL)
    slow.communicate()

    cache = build(images, tmp_path / "cache", context)

    assert are_right(cache, images)
    assert cache.decoded == NUM_IMAGES
    assert max(Counter(images.reads()).values()) <= 3
    assert [path for path in (tmp_path / "cache").rglob("*.part")] == []


def list_all(images: CountedImages) -> tuple[str, ...]:
    return list_shards(fingerprint_all(images, images.records(), 1), SMALL, PER_SHARD).keys


def test_who_cannot_have_a_shard_waits_for_it_and_goes_on_with_others(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    root = tmp_path / "cache"
    held = claim(root, list_all(images)[0])
    assert held is not None
    done: list[int] = []

    def follow(count: int, total: int) -> None:
        done.append(count)
        if count == NUM_IMAGES - PER_SHARD:
            held.release()

    cache = build(images, root, context, progress=follow)
    assert images.reads()[:1] == ["00.png"]
    assert images.log.read_text().split()[-PER_SHARD:] == ["00.png", "01.png", "02.png", "03.png"]
    assert (cache.decoded, done[-1]) == (NUM_IMAGES, NUM_IMAGES)


def test_what_travels_to_the_jobs_does_not_grow_with_the_images(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    few = build(images, tmp_path / "cache", context, per_shard=None)
    fill(images.folder, range(NUM_IMAGES, 90))
    many = build(images, tmp_path / "cache", context, per_shard=None)
    assert (many.shards.num_images, len(pickle.dumps(many)) - len(pickle.dumps(few))) == (90, 0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(many)).open()[89], many.open()[89])


def test_its_folders_are_all_that_another_machine_needs(
    images: CountedImages, tmp_path: Path, context: BaseContext
) -> None:
    cache = build(images, tmp_path / "cache", context)
    for folder in cache.folders:
        assert flaws(folder) == []
        shutil.copytree(folder, tmp_path / "elsewhere" / folder.relative_to(cache.root))
    shutil.rmtree(tmp_path / "cache")
    moved = cache.moved(tmp_path / "elsewhere")
    assert (moved.root, len(moved.folders)) == (tmp_path / "elsewhere", 4)
    assert are_right(moved, images)
    np.testing.assert_array_equal(moved.digests(), fingerprint_all(images, images.records(), 1))


@pytest.mark.parametrize(
    ("size", "count"), [(8, 2**16), (64, SHARD_BYTES // 12288), (224, 1783), (4096, 5), (20_000, 1)]
)
def test_a_shard_is_bounded_by_bytes_and_by_images(size: int, count: int) -> None:
    assert images_per_shard(size) == count
    shards = list_shards(digests_of(map(str, range(7))), Preprocessing(size, "none"))
    assert len(shards.keys) == -(-7 // count)


def test_folders_of_shards_are_spread() -> None:
    keys = list_shards(digests_of(map(str, range(2000))), SMALL, 1).keys
    above = Counter(place_of(key).split("/")[1] for key in keys)
    assert len(above) > 200
    assert max(above.values()) < 30


def test_fingerprints_are_digested_one_by_one_whatever_the_threads(images: CountedImages) -> None:
    (images.folder / "03.png").write_bytes(b"refuse")
    records = images.records()
    expected = digests_of(
        "unreadable: 03.png is refused" if record.id == "03.png" else images.fingerprint(record) for record in records
    )
    for workers in (1, 3):
        np.testing.assert_array_equal(fingerprint_all(images, records, workers), expected)
    assert expected.shape == (NUM_IMAGES, 16)
    assert len({row.tobytes() for row in expected}) == NUM_IMAGES
