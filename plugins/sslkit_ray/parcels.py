"""Files in Ray's object store: put there once by the driver, unpacked on nodes that see none of its disks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_CHUNK = 64 * 2**20
"""Bytes of an object: a file of any size fits through a store of any size."""


Parcel = tuple[str, tuple[Any, ...]]
"""A file in the object store: its path below some folder, and references to its bytes in order, uint8 (B,) each."""


def unpack(parcel: Parcel, folder: Path) -> Path:
    """Write the file below a folder, and return where."""
    ray: Any = importlib.import_module("ray")
    name, chunks = parcel
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for chunk in chunks:
            ray.get(chunk).tofile(file)
    return path


class Dispatch:
    """Puts files into the object store, each of them once as long as it does not change."""

    def __init__(self) -> None:
        self._sent: dict[tuple[Path, int, int], Parcel] = {}

    def send(self, root: Path, *paths: Path) -> list[Parcel]:
        """Return the parcels of files below a folder, and of all files of folders below it."""
        found = (sorted(path.rglob("*")) if path.is_dir() else [path] for path in paths)
        return [self._send(root, path) for path in chain.from_iterable(found) if not path.is_dir()]

    def _send(self, root: Path, path: Path) -> Parcel:
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size)
        if key not in self._sent:
            import ray

            name = path.relative_to(root).as_posix()
            self._sent[key] = name, tuple(ray.put(chunk) for chunk in _chunks(path))
        return self._sent[key]


def _chunks(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    with path.open("rb") as file:
        while content := file.read(_CHUNK):
            yield np.frombuffer(content, np.uint8)
