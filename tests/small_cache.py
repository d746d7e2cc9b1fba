"""Builds caches of small images, on this disk and in stores, and looks into them."""

from __future__ import annotations

from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from counted_images import CountedImages
from PIL import Image

from sslkit.data.cache import ImageCache, build_cache
from sslkit.data.cache_root import CacheRoot
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.shards import shard_folder

SMALL = Preprocessing(8, "center")


def build(images: CountedImages, root: CacheRoot, context: BaseContext, **options: Any) -> ImageCache:
    """Decode a data set in two processes."""
    options = {"preprocessing": SMALL, "workers": 2, **options}
    return build_cache(images, images.records(), root=root, context=context, **options)


def shards(root: Path) -> list[str]:
    """Return the names of all shards below the root of a cache, and of those that were begun."""
    return sorted(entry.name for entry in root.glob("images/*/*"))


def shard_of(cache: ImageCache, place: int = 0) -> Path:
    """Return the folder of a shard."""
    return shard_folder(cache.root, cache.shards.keys[place])


def few_images(folder: Path) -> CountedImages:
    """Make ten images in a new folder ``images``."""
    (folder / "images").mkdir()
    fill(folder / "images", range(10))
    return CountedImages(folder / "images", folder / "log")


def fill(folder: Path, rows: range) -> None:
    """Make images that differ, named by their numbers."""
    for row in rows:
        pixels = np.random.default_rng(row).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row:02d}.png")


def decoded(images: CountedImages) -> npt.NDArray[np.uint8]:
    """Return what the decoded images must be."""
    return np.stack([SMALL.apply((images.folder / record.id).read_bytes()) for record in images.records()])


def objects(url: str) -> list[str]:
    """Return the names of all objects below a URL."""
    import fsspec

    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    return sorted(name.removeprefix(root).lstrip("/") for name in files.find(root))
