"""Fetches the next images from a store while one is decoded, so that its latency is waited for once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sslkit.types import Record

CONNECTIONS = 8
"""Images that a process fetches at a time; s3fs keeps ten connections open."""

ContentT = TypeVar("ContentT")


def read_ahead(read: Callable[[Record], ContentT], records: Sequence[Record]) -> Iterator[Callable[[], ContentT]]:
    """Yield for each image, in order, what returns its content or raises why there is none.

    Files are read when that is called. Objects in a store are fetched before, some at a time, in threads.

    Args:
        read: reads one image; several threads may call it.
        records: the images, few enough that all of their files fit into memory.

    Example:
        >>> [content() for content in read_ahead(lambda record: record.id.upper(), [Record("a"), Record("b")])]
        ['A', 'B']
    """
    if all(record.stored is None for record in records):
        yield from (partial(read, record) for record in records)
        return
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        waiting = deque(pool.submit(read, record) for record in records)
        try:
            while waiting:
                yield waiting.popleft().result
        finally:
            pool.shutdown(cancel_futures=True)
