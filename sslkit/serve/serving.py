"""Takes a port, and serves an application there until it is told to stop."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import uvicorn

from sslkit.errors import UsageError
from sslkit.printable import shown
from sslkit.serve.hosts import is_loopback
from sslkit.serve.protocol import ImpatientProtocol
from sslkit.serve.secret import VARIABLE, Secret

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_MOST_CONNECTIONS = 64
_SECONDS_TO_END = 10
"""For answers that are under way when the server is told to stop."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that has a port, and answers nobody yet: whoever connects waits.

    Args:
        host: a name or an address of this machine.
        port: 0 takes any that is free.

    Raises:
        UsageError: if the port is taken or not ours, or the host not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise UsageError(
            f"--host {shown(host)} is no name or address of this machine; by default it is 127.0.0.1"
        ) from None
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs have one port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(1)  # two programs may have bound a port that neither of them listens at
    except OSError as error:
        bound.close()
        raise UsageError(_why_not(host, port, error)) from error
    return bound


def is_exposed(bound: socket.socket) -> bool:
    """Return whether other machines may reach a socket: by where it is, not by what it was called."""
    return not is_loopback(str(bound.getsockname()[0]))


def require_secret(secret: Secret | None, *, exposed: bool, names: Collection[str]) -> None:
    """Refuse to serve without a secret what others can reach, by itself or through a proxy that calls it by a name.

    Raises:
        UsageError: saying how to give one.
    """
    if secret is not None or not (exposed or any(not is_loopback(name) for name in names)):
        return
    how = "this --host" if exposed else f"--allow-host {next(name for name in names if not is_loopback(name))}"
    raise UsageError(
        f"{how} lets other machines reach the page, and nothing says who may use it. Give --auth FILE, a file of one "
        f"line that only you can read, or set ${VARIABLE}; or leave it at --host 127.0.0.1 for this machine alone"
    )


def address_of(bound: socket.socket) -> str:
    """Return the URL of what is served at a socket, for a browser on this machine."""
    host, port = bound.getsockname()[:2]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{here}]:{port}/" if ":" in here else f"http://{here}:{port}/"


def serve_at(app: ASGIApp, bound: socket.socket, begun: Callable[[], object] = lambda: None) -> None:
    """Serve until Ctrl-C, or another signal that stops; what is being graded is finished first.

    Args:
        app: from [make_app][sslkit.serve.make_app].
        bound: from [bind][sslkit.serve.serving.bind]; it is closed at the end.
        begun: called once requests are answered.
    """
    with bound:
        server_of(app, begun).run(sockets=[bound])


def server_of(app: ASGIApp, begun: Callable[[], object] = lambda: None) -> uvicorn.Server:
    """Return a server that says nothing but errors, and believes no header that only a proxy should write."""
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    return _Server(config, begun)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, begun: Callable[[], object]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._begun()


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken by another program; give another --port, or --port 0 for any"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user; give a --port above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine; by default it is 127.0.0.1"
    return f"port {port} of {host} cannot be used: {error.strerror or error}"
