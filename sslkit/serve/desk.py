"""One photograph is graded at a time; a few wait, and more are told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sslkit.serve.refusal import Refusal

if TYPE_CHECKING:
    from sslkit.experiment.graded import Graded
    from sslkit.serve.model import Grader

_COME_BACK = 5
"""Seconds after which a place may be free again."""


class Desk:
    """Grades in a thread of its own, so that the page stays answerable.

    Args:
        grader: what grades.
        places: uploads at a time, from their first byte to their answer; this bounds the memory that they take.
    """

    def __init__(self, grader: Grader, places: int) -> None:
        self._grader, self._free = grader, places
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grading")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            Refusal: if none is free.
        """
        if self._free < 1:
            sentence = "Too many photographs are waiting; send this one again in a moment."
            raise Refusal(503, sentence, {"Retry-After": str(_COME_BACK)})
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def grade(self, content: bytes, *, cam: bool) -> Graded:
        """Grade a photograph as soon as those before it are done; its name, which may tell of a person, is not told."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: self._grader.grade(content, "photograph", cam=cam))

    def close(self) -> None:
        """End the thread once it has done what it is doing; those who wait are not graded."""
        self._thread.shutdown(wait=False, cancel_futures=True)
