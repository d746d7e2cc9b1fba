"""What jobs tell on their way to the driver: an actor that keeps it in its order until it is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Letter(NamedTuple):
    """Some of what a job has told, in its order.

    Attributes:
        sender: which try of which job.
        values: what it has told.
        place: of the process: ``node``, the node's id; ``name``, what the machine is called; and ``process``.
            In the first letter.
    """

    sender: str
    values: Sequence[Mapping[str, Any]]
    place: Mapping[str, Any] | None = None


class Postbox:
    """Keeps letters; those of one sender arrive in the order in which they were sent, as Ray's calls do."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._news = asyncio.Event()

    async def post(self, letter: Letter) -> None:
        """Take a letter."""
        self._letters.append(letter)
        self._news.set()

    async def wake(self) -> None:
        """Let who waits for letters have what there is."""
        self._news.set()

    async def fetch(self) -> list[Letter]:
        """Return what has come, once something has, or once woken."""
        await self._news.wait()
        self._news.clear()
        letters, self._letters = self._letters, []
        return letters
