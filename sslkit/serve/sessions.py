"""Who has signed in: random tokens, of which only digests are remembered, for some hours."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable

COOKIE = "sslkit_session"
LIFETIME = 8 * 3600
"""Seconds; a working day."""

MOST = 256
"""Sessions at a time; the oldest gives way."""


class Sessions:
    """Sessions that end by themselves, by signing out, and with the process.

    Args:
        clock: seconds that never go back.

    Example:
        >>> sessions = Sessions(lambda: 0.0)
        >>> token = sessions.begin()
        >>> sessions.holds(token), sessions.holds("made up")
        (True, False)
        >>> sessions.end(token)
        >>> sessions.holds(token)
        False
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def begin(self) -> str:
        """Return the token of a new session."""
        token = secrets.token_urlsafe(32)
        self._until[_digest(token)] = self._clock() + LIFETIME
        while len(self._until) > MOST:
            self._until.popitem(last=False)
        return token

    def holds(self, token: str) -> bool:
        """Return whether a token is that of a session which has not ended."""
        return self._until.get(_digest(token), -1.0) > self._clock()

    def end(self, token: str) -> None:
        """End a session, if there is one."""
        self._until.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    """Return what is looked up: how long that takes says nothing of the token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
