from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sslkit.data.sharded_images import ShardedImages
from sslkit.data.shards import Shards
from sslkit.engine.networks import load_batch
from sslkit.errors import RunError

COUNT = 23
ARRAY = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 3), dtype=np.uint8)
PER_SHARD = [1, 5, 22, 23, 100]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


def divided(root: Path, per_shard: int, most_open: int = 2) -> ShardedImages:
    shards = Shards(tuple(f"{per_shard}-{start}" for start in range(0, COUNT, per_shard)), COUNT, per_shard, 4)
    for place, key in enumerate(shards.keys):
        (root / key).mkdir(exist_ok=True)
        np.save(root / key / "images.npy", ARRAY[shards.rows(place)])
    return ShardedImages(shards, root.joinpath, most_open)


ROWS = st.integers(-COUNT, COUNT - 1)
INDICES = st.one_of(
    ROWS,
    st.slices(COUNT),
    st.lists(ROWS, max_size=40),
    st.lists(ROWS, max_size=40).map(lambda rows: np.array(rows, dtype=np.int64)),
    st.lists(ROWS, min_size=6, max_size=6).map(lambda rows: np.array(rows, dtype=np.int32).reshape(2, 3)),
    st.lists(st.booleans(), min_size=COUNT, max_size=COUNT).map(np.array),
    ROWS.map(np.int64),
)


@pytest.mark.parametrize("per_shard", PER_SHARD)
def test_it_is_indexed_as_one_array_is(root: Path, per_shard: int) -> None:
    images = divided(root, per_shard)

    @given(INDICES)
    def agrees(rows: Any) -> None:
        found = images[rows]
        expected = ARRAY[rows]
        assert isinstance(found, np.ndarray)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(found, expected)

    agrees()


@pytest.mark.parametrize("per_shard", PER_SHARD)
def test_it_has_the_shape_of_one_array(root: Path, per_shard: int) -> None:
    images = divided(root, per_shard)
    assert (images.shape, images.dtype, images.ndim, len(images)) == (ARRAY.shape, ARRAY.dtype, ARRAY.ndim, COUNT)
    np.testing.assert_array_equal(np.stack(list(images)), ARRAY)
    rows = np.array([22, 0, 7, 7])
    np.testing.assert_array_equal(load_batch(images, rows).numpy(), load_batch(ARRAY, rows).numpy())


@pytest.mark.parametrize("per_shard", [5, 100])
@pytest.mark.parametrize(
    "rows", [COUNT, -COUNT - 1, [0, COUNT], (0, 1), None, ..., [0.5], np.ones(COUNT - 1, bool), "a"]
)
def test_what_names_no_row_is_refused(root: Path, per_shard: int, rows: Any) -> None:
    with pytest.raises(IndexError):
        divided(root, per_shard)[rows]


def test_few_files_are_open_at_a_time_and_each_is_opened_again_when_needed(root: Path) -> None:
    images = divided(root, 1, most_open=3)
    before = open_files()
    for rows in (np.arange(COUNT), np.arange(COUNT)[::-1]):
        np.testing.assert_array_equal(images[rows], ARRAY[rows])
        assert open_files() - before <= 3


def open_files() -> int:
    return sum("images.npy" in os.readlink(link) for link in links())


def links() -> Iterator[Path]:
    return (link for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


def test_a_gather_opens_each_shard_once(root: Path) -> None:
    opened: list[str] = []

    def find(key: str) -> Path:
        opened.append(key)
        return root / key

    divided(root, 5)
    shards = Shards(tuple(f"5-{start}" for start in range(0, COUNT, 5)), COUNT, 5, 4)
    images = ShardedImages(shards, find, most_open=1)
    assert opened == []
    np.testing.assert_array_equal(images[[0, 22, 1, 21, 2, 20]], ARRAY[[0, 22, 1, 21, 2, 20]])
    assert opened == ["5-0", "5-20"]


def test_threads_and_forked_processes_share_it(root: Path) -> None:
    images = divided(root, 5, most_open=2)

    def reads(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        draws = [rng.integers(0, COUNT, 8) for _ in range(200)]
        return all(np.array_equal(images[rows], ARRAY[rows]) for rows in draws)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(reads, range(4)))
        # A thread is at it while the process is forked.
        busy = pool.submit(reads, 9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: this is what is tested
            child = os.fork()
        if child == 0:
            os._exit(0 if reads(5) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert busy.result()


def test_it_travels_without_its_images(root: Path) -> None:
    images = divided(root, 5)
    images[:]
    sent = pickle.dumps(images)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[:], ARRAY)


def test_images_cannot_be_changed_through_it(root: Path) -> None:
    for image in (divided(root, 100)[3], divided(root, 5)[3]):
        with pytest.raises(ValueError, match="read-only"):
            image[:] = 0


@pytest.mark.parametrize(
    "held",
    [ARRAY[:5].astype(np.float32), ARRAY[:4], ARRAY[:5, :, :, :2], np.asfortranarray(ARRAY[:5])],
    ids=["another type", "too few", "another shape", "another order"],
)
def test_a_file_that_is_not_as_it_should_be(root: Path, held: npt.NDArray[Any]) -> None:
    shards = Shards(("odd",), 5, 5, 4)
    (root / "odd").mkdir(exist_ok=True)
    np.save(root / "odd" / "images.npy", held)
    images = ShardedImages(shards, root.joinpath)
    if held.shape == (5, 4, 4, 3) and held.dtype == np.uint8:
        np.testing.assert_array_equal(images[:], ARRAY[:5])
        return
    with pytest.raises(
        RunError, match=r"images\.npy holds .* in place of uint8 \(5, 4, 4, 3\); delete its folder, and"
    ):
        images[0]


def test_a_shard_that_was_taken_away_is_named(root: Path, tmp_path: Path) -> None:
    images = divided(tmp_path, 5)
    shutil.rmtree(tmp_path / "5-10")
    np.testing.assert_array_equal(images[[0, 22]], ARRAY[[0, 22]])
    with pytest.raises(RunError, match=r"5-10.images\.npy was taken away; the same command, run again, decodes its"):
        images[12]
