"""Connections that do nothing are closed: uvicorn itself waits for ever for a request whose headers do not end."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS = 30.0
"""How long a connection may be open without a request that is being answered."""

REQUEST_SECONDS = 900.0
"""How long a request may take, its answer's way included: the upload, those before it, and the grading."""


class ImpatientProtocol(H11Protocol):
    """HTTP/1.1 with limits of time."""

    _watch: asyncio.TimerHandle | None = None
    _num_answered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch a connection."""
        super().connection_made(transport)
        self._look(None, -1, 0.0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch it no more."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Count a request that was answered."""
        self._num_answered += 1
        super().on_response_complete()

    def _look(self, before: Any, answered: int, since: float) -> None:
        """Close the connection if it has got no further since the last look.

        Args:
            before: the request that was being answered then; None: none was.
            answered: the requests that had been answered; -1: this is the first look.
            since: seconds for which that request has been.
        """
        request = self.cycle if self.cycle is not None and not self.cycle.response_complete else None
        idle = request is None and before is None and answered == self._num_answered
        stuck = request is not None and request is before and since >= REQUEST_SECONDS
        if idle or stuck:
            self.transport.abort()
            return
        longer = since if request is before else 0.0
        told = request, self._num_answered, longer + IDLE_SECONDS
        self._watch = self.loop.call_later(IDLE_SECONDS, self._look, *told)
