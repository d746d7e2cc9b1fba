"""Looks at images of a data set, to compare them with what they are at another time or place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from sslkit.interfaces import Dataset
from sslkit.types import Record


def digest(content: Any) -> str:
    """Return a digest of what ``read`` has returned, its type and shape among it."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    array = np.asarray(content)
    return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"


def read_all(dataset: Dataset[Any], records: Iterable[Record]) -> list[str]:
    """Return a digest of each image, read one after another."""
    return [digest(dataset.read(record)) for record in records]


def look(dataset: Dataset[Any], record: Record) -> tuple[str, str]:
    """Return a digest of an image, and its fingerprint."""
    return digest(dataset.read(record)), dataset.fingerprint(record)


def odd_one(records: Iterable[Record], first: Iterable[Any], second: Iterable[Any]) -> Record | None:
    """Return a record for which two lists differ; None where there is none."""
    return next((record for record, a, b in zip(records, first, second, strict=True) if a != b), None)
