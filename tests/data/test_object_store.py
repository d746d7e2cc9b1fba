"""Caches in object storage: against a server of S3 on this machine, a disk, and the memory of the process."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_cache
from counted_images import CountedImages
from object_store import SECRET
from small_cache import SMALL, decoded, few_images, objects, shards
from studies import tiny_config

import sslkit
from sslkit.checksums import SUMS, flaws, seal
from sslkit.data.cache import ImageCache, build_cache
from sslkit.data.shards import place_of, shard_folder
from sslkit.experiment.running import RunResult

fsspec = pytest.importorskip("fsspec")

NUM_IMAGES = 10
PER_SHARD = 4


@pytest.fixture
def images(tmp_path: Path) -> CountedImages:
    return few_images(tmp_path)


def build(images: CountedImages, url: str, context: BaseContext, **options: Any) -> ImageCache:
    return small_cache.build(images, url, context, **{"workers": 1, "per_shard": PER_SHARD, **options})


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
