"""One array of all decoded images, over the files of many shards."""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sslkit.data.shards import Shards
from sslkit.errors import RunError

Pixels: TypeAlias = npt.NDArray[np.uint8]

MOST_OPEN = 256
"""Files that are mapped into memory at a time: a process may have 1024 open, as a rule."""


class ShardedImages:
    """The decoded images of a data set, read from disk as they are used: uint8 (M, H, W, 3).

    It is indexed by rows as an array is: by a number, a slice, an array of numbers or one of truths. What comes back is
    an array; where all images are in one shard, as most data sets' are, it is a view of the file wherever an array
    would give one. Files are mapped into memory as they are first used, and the one that was not used for longest is
    let go where they become many. Threads and forked processes may share an instance; by pickle it travels without its
    images.

    Args:
        shards: what there is.
        find: returns the folder of the shard of a key; may fetch it from afar.
        most_open: files that are mapped at a time.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, shards: Shards, find: Callable[[str], Path], most_open: int = MOST_OPEN) -> None:
        self.shape = shards.shape
        self._shards, self._find, self._most_open = shards, find, most_open
        # Written in C, it needs no lock of ours, which a fork could leave locked for good.
        self._mapped: Callable[[int], Pixels] = lru_cache(most_open)(self._map)

    def __reduce__(self) -> tuple[type[ShardedImages], tuple[Shards, Callable[[str], Path], int]]:
        return ShardedImages, (self._shards, self._find, self._most_open)

    def __len__(self) -> int:
        return self._shards.num_images

    def __iter__(self) -> Iterator[Pixels]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: Any) -> Pixels:
        """Return images: (H, W, 3) of a number, (N, H, W, 3) of a slice or an array.

        Raises:
            IndexError: if there is no such row, or they are not rows.
            RunError: if a shard is gone.
        """
        if isinstance(rows, tuple) or rows is None or rows is Ellipsis:
            raise IndexError("decoded images are indexed by rows alone; index what comes back by the rest")
        if len(self._shards.keys) == 1:
            images: Pixels = self._mapped(0)[rows]
            return images
        if isinstance(rows, slice):
            return self._gather(np.arange(*rows.indices(len(self))))
        asked = np.asarray(rows)
        if asked.dtype == bool:
            if asked.shape != (len(self),):
                raise IndexError(f"a mask of shape {asked.shape} for {len(self)} images; give one value an image")
            return self._gather(np.flatnonzero(asked))
        if asked.size and not np.issubdtype(asked.dtype, np.integer):
            raise IndexError(f"rows of type {asked.dtype}; give whole numbers, a slice or a mask")
        asked = asked.astype(np.int64, copy=False)
        if asked.size and not (-len(self) <= asked.min() and asked.max() < len(self)):
            raise IndexError(f"rows {asked.min()} to {asked.max()} of {len(self)} images")
        asked = np.where(asked < 0, asked + len(self), asked)
        if asked.ndim == 0:
            place, within = divmod(int(asked), self._shards.per_shard)
            image: Pixels = self._mapped(place)[within]
            return image
        return self._gather(asked.ravel()).reshape(*asked.shape, *self.shape[1:])

    def _gather(self, rows: npt.NDArray[np.int64]) -> Pixels:
        places, within = np.divmod(rows, self._shards.per_shard)
        images = np.empty((len(rows), *self.shape[1:]), np.uint8)
        # Shard by shard: each is opened once, however many there are.
        order = np.argsort(places, kind="stable")
        for to, place, row in zip(order.tolist(), places[order].tolist(), within[order].tolist(), strict=True):
            images[to] = self._mapped(place)[row]
        return images

    def _map(self, place: int) -> Pixels:
        path = self._find(self._shards.keys[place]) / "images.npy"
        shape = (len(self._shards.rows(place)), *self.shape[1:])
        header = _header(shape)
        try:
            with path.open("rb", buffering=0) as file:
                # By far faster than numpy's own reader, which is asked where the header is any other than ours.
                if file.read(len(header)) == header and os.fstat(file.fileno()).st_size == len(header) + prod(shape):
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    return np.frombuffer(mapped, np.uint8, offset=len(header)).reshape(shape)
            images: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise RunError(f"{path} was taken away; the same command, run again, decodes its images anew") from None
        if images.shape != shape or images.dtype != np.uint8:
            raise RunError(
                f"{path} holds {images.dtype} {images.shape} in place of uint8 {shape}; delete its folder, and run "
                "the same command again"
            )
        return images


@cache
def _header(shape: tuple[int, ...]) -> bytes:
    """Return how a file of numpy begins that holds so many bytes."""
    begun = io.BytesIO()
    described = np.lib.format.header_data_from_array_1_0(np.empty(0, np.uint8))
    np.lib.format.write_array_header_1_0(begun, {**described, "shape": shape})
    return begun.getvalue()


Images: TypeAlias = Pixels | ShardedImages
"""Decoded images, uint8 (M, H, W, 3), in memory or on disk."""
