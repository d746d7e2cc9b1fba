"""Who gets in: the right name, a page of our own, and, where there is a secret, somebody who knows it."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from sslkit.printable import shown
from sslkit.serve.attempts import Attempts
from sslkit.serve.hosts import called, comes_from_elsewhere, is_known, is_name
from sslkit.serve.refusal import Refusal
from sslkit.serve.replies import redirect, refuse
from sslkit.serve.sessions import COOKIE, Sessions
from sslkit.serve.settings import Settings

OPEN_TO_ALL = frozenset({"/health", "/sign-in", "/page.css", "/page.js"})
"""Paths that tell nothing of a run or a photograph."""


class Access:
    """Decides of every request whether it reaches the application.

    Args:
        settings: secret, names and clock.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.attempts, self.sessions = Attempts(settings.clock), Sessions(settings.clock)

    def answer(self, scope: Scope) -> Response | None:
        """Return the response to a request that gets no further; None for one that does."""
        try:
            self._check_names(scope["method"], Headers(scope=scope))
            if self._settings.secret is None or scope["path"] in OPEN_TO_ALL or self._is_signed_in(scope):
                return None
        except Refusal as refusal:
            return refuse(refusal)
        if scope["path"] == "/":
            return redirect("/sign-in")
        sentence = "Sign in first: open the page, or send the header 'Authorization: Bearer SECRET'."
        return refuse(Refusal(401, sentence, {"WWW-Authenticate": "Bearer"}))

    def sign_in(self, client: str, given: str) -> str:
        """Return the token of a new session for somebody who gives the secret.

        Raises:
            Refusal: if it is wrong, or the client has been wrong too often.
        """
        self._require_secret(client, given)
        return self.sessions.begin()

    def _check_names(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        name = called(host)
        if not is_known(name, self._settings.names, exposed=self._settings.exposed):
            hint = f" If that is its name, start it with --allow-host {name}." if is_name(name) else ""
            raise Refusal(400, f"This server does not answer to the name {shown(name)}.{hint}")
        if comes_from_elsewhere(method, host, headers.get("origin"), headers.get("sec-fetch-site")):
            raise Refusal(403, "Requests that pages of other sites make are refused.")

    def _is_signed_in(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            sent = given.strip().encode("latin-1").decode(errors="replace")  # a header's bytes come as Latin-1
            self._require_secret(client_of(scope), sent)
            return True
        return any(self.sessions.holds(token) for token in session_tokens(headers.getlist("cookie")))

    def _require_secret(self, client: str, given: str) -> None:
        """Compare what was given, unless there were too many failures: then not even the right one is told from others.

        Raises:
            Refusal: if it is wrong, or the client has been wrong too often.
        """
        if wait := self.attempts.wait(client):
            sentence = f"Too many failed attempts; try again in {wait} seconds."
            raise Refusal(429, sentence, {"Retry-After": str(wait)})
        if self._settings.secret is None or not self._settings.secret.matches(given):
            self.attempts.failed(client)
            raise Refusal(401, "That is not the password.", {"WWW-Authenticate": "Bearer"})
        self.attempts.succeeded(client)


def client_of(scope: Scope) -> str:
    """Return the address of whoever is connected: of the proxy, where there is one."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def session_tokens(cookies: Iterable[str]) -> list[str]:
    """Return the tokens in a request's cookies.

    Other programs of this machine set cookies as well, of any form: http.cookies would stop at the first odd one.
    """
    pairs = (pair.strip().partition("=") for header in cookies for pair in header.split(";"))
    return [token for name, _, token in pairs if name == COOKIE]
