"""How the decoded images of a data set are divided: into shards, each named after what it holds.

Boundaries are by position, so that images which are appended leave all shards but the last as they are. Equal shards of
two data sets are one, and so are two of one data set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import PIL

from sslkit.data.fingerprints import Digests
from sslkit.data.preprocessing import Preprocessing

CACHE_VERSION = 5

SHARD_BYTES = 2**28
"""Of the decoded images of a shard, at most; one image is a shard where it alone is more."""

MOST_IMAGES = 2**16
"""Of a shard, at most, however small they are."""

SHARD_FILES = ("images.npy", "statistics.npy", "headers.npy", "index.json")
"""What a shard vouches for."""


@dataclass(frozen=True)
class Shards:
    """The shards of a data set.

    Attributes:
        keys: of each shard, in the order of the images.
        num_images: M, of all of them.
        per_shard: images of every shard but the last, which may have fewer.
        size: side of the images in pixels.
    """

    keys: tuple[str, ...] = ()
    num_images: int = 0
    per_shard: int = 1
    size: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of all images: (M, H, W, 3)."""
        return self.num_images, self.size, self.size, 3

    def rows(self, place: int) -> range:
        """Return the rows that the shard at a place holds."""
        start = place * self.per_shard
        return range(start, min(start + self.per_shard, self.num_images))

    def distinct(self) -> Iterator[int]:
        """Yield the place of each shard, but for those that are equal to an earlier one."""
        seen: set[str] = set()
        for place, key in enumerate(self.keys):
            if key not in seen:
                seen.add(key)
                yield place


NO_SHARDS = Shards()


def images_per_shard(size: int) -> int:
    """Return how many images of a side in pixels are a shard.

    Example:
        >>> images_per_shard(224), images_per_shard(16)
        (1783, 65536)
    """
    return max(1, min(MOST_IMAGES, SHARD_BYTES // (3 * size * size)))


def content_key(digests: Digests, preprocessing: Preprocessing) -> str:
    """Return what decoded images are called: a digest of the images' content and of what is done to them."""
    made_by = [CACHE_VERSION, PIL.__version__, asdict(preprocessing)]
    digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode())
    digest.update(digests.tobytes())
    return digest.hexdigest()[:32]


def list_shards(digests: Digests, preprocessing: Preprocessing, per_shard: int | None = None) -> Shards:
    """Divide the images of a data set.

    Args:
        digests: of each image's content, in the order of the rows.
        preprocessing: size and crop.
        per_shard: images of a shard; by default those of ``images_per_shard``.
    """
    step = images_per_shard(preprocessing.size) if per_shard is None else per_shard
    keys = (content_key(digests[start : start + step], preprocessing) for start in range(0, len(digests), step))
    return Shards(tuple(keys), len(digests), step, preprocessing.size)


def place_of(key: str, kind: str = "images") -> str:
    """Return where below the root of a cache the folder of a key is; no folder comes to hold very many others.

    Example:
        >>> place_of("abcdef")
        'images/ab/abcdef'
    """
    return f"{kind}/{key[:2]}/{key}"


def shard_folder(root: Path, key: str) -> Path:
    """Return where a shard is."""
    return root / place_of(key)
