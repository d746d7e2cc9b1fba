"""Responses, and the headers that all of them have."""

from __future__ import annotations

import time
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sslkit.serve.refusal import Refusal
from sslkit.serve.settings import Settings

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content security policy: what is not the server's own is neither loaded nor run, nor asked."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # not no-referrer, under which a form of our own has the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def refuse(refusal: Refusal) -> Response:
    """Return the response of a refusal."""
    return JSONResponse({"error": refusal.sentence}, refusal.status, refusal.headers)


def redirect(path: str) -> Response:
    """Return a response that leads on to a page of our own."""
    return RedirectResponse(path, 303)


class Headed:
    """Adds the headers to all responses of an application, and tells of each in one line.

    Args:
        app: what is behind.
        settings: who hears of requests.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._log = app, settings.log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun = time.perf_counter()
        status = 0

        async def send_headed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_headed)
        self._log(_line(scope, status, time.perf_counter() - begun))


def _line(scope: Scope, status: int, seconds: float) -> str:
    """Return what is logged of a request: no query, in which a client may have put anything, and no long path."""
    client: Any = scope.get("client")
    address = client[0] if client else "-"
    return f"{address} {scope['method']} {scope['path'][:80]} {status} {1000 * seconds:.0f} ms"
