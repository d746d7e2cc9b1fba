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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch a connection."""
        super().connection_made(transport)
        self._look(None, 0.0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch it no more."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look(self, before: Any, since: float) -> None:
        """Close the connection if it has got no further since the last look.

        Args:
            before: the request that was being answered then; None: none was.
            since: seconds for which that request has been.
        """
        request = self.cycle if self.cycle is not None and not self.cycle.response_complete else None
        idle = request is None and before is None and since > 0
        stuck = request is not None and request is before and since >= REQUEST_SECONDS
        if idle or stuck:
            self.transport.abort()
            return
        longer = since if request is before else 0.0
        self._watch = self.loop.call_later(IDLE_SECONDS, self._look, request, longer + IDLE_SECONDS)
