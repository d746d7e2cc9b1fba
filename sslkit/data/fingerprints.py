"""Digests of the content of all images, which name them in the cache: an array, not an object an image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sslkit.blame import blame
from sslkit.errors import DataError
from sslkit.interfaces import Dataset
from sslkit.types import Record

Digests: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (M, 16): the first half of the SHA-256 of each image's fingerprint."""

_DIGEST_BYTES = 16
_AT_ONCE = 16
"""Images that a thread fingerprints before it takes others."""

_BLOCK = 2**15
"""Images that are handed to the threads together: what waits its turn takes memory."""


def fingerprint_all(dataset: Dataset[Any], records: Sequence[Record], workers: int) -> Digests:
    """Return a digest of each image's content; an image that cannot be read has one of the reason.

    Args:
        dataset: where the images come from.
        records: the M images.
        workers: number of threads.
    """

    # In threads: while one waits for the disk or hashes, the others go on, and nothing has to travel.
    def fingerprint(start: int) -> None:
        stretch = slice(start, start + _AT_ONCE)
        digests[stretch] = digests_of(_fingerprint(dataset, record) for record in records[stretch])

    digests = np.empty((len(records), _DIGEST_BYTES), np.uint8)
    with ThreadPoolExecutor(workers) as pool:
        for first in range(0, len(records), _BLOCK):
            last = min(first + _BLOCK, len(records))
            for _ in pool.map(fingerprint, range(first, last, _AT_ONCE)):
                pass
    return digests


def digests_of(fingerprints: Iterable[str]) -> Digests:
    """Return the digest of each fingerprint."""
    joined = b"".join(
        hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:_DIGEST_BYTES] for text in fingerprints
    )
    return np.frombuffer(joined, np.uint8).reshape(-1, _DIGEST_BYTES)


def _fingerprint(dataset: Dataset[Any], record: Record) -> str:
    try:
        with blame(dataset.provenance, "fingerprint()", contract=(DataError, OSError)):
            return dataset.fingerprint(record)
    except (DataError, OSError) as error:
        return f"unreadable: {error}"
