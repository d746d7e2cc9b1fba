"""The application: a page, a sign-in, and three addresses that answer JSON."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from sslkit.errors import PluginError, StorageError
from sslkit.experiment.heat import NO_EVIDENCE
from sslkit.printable import printable
from sslkit.serve.access import Access, client_of, session_tokens
from sslkit.serve.answer import DISCLAIMER, answer_of, pictures_of
from sslkit.serve.desk import Desk
from sslkit.serve.keeping import keep
from sslkit.serve.model import ServedModel
from sslkit.serve.page import grading_page, script, sign_in_page, style_sheet
from sslkit.serve.refusal import Refusal
from sslkit.serve.replies import Headed, redirect, refuse
from sslkit.serve.sessions import COOKIE, LIFETIME
from sslkit.serve.settings import Settings
from sslkit.serve.upload import read_photograph

_LOG = logging.getLogger("sslkit.serve")

_MOST_OF_A_PASSWORD = 4096
"""Bytes of the form that one signs in with."""


def application(model: ServedModel, settings: Settings) -> ASGIApp:
    """Return the application for some models; who may ask is decided before anything of a request is read."""
    access = Access(settings)
    routes = _routes(model, settings, access)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        response = access.answer(scope) if scope["type"] == "http" else None
        await (response or routes)(scope, receive, send)

    return Headed(guarded, settings)


def _routes(model: ServedModel, settings: Settings, access: Access) -> Starlette:
    site = _Site(model, settings, access)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        site.desk.close()

    return Starlette(
        routes=[
            Route("/", site.page),
            Route("/page.css", site.style),
            Route("/page.js", site.script),
            Route("/sign-in", site.show_sign_in),
            Route("/sign-in", site.sign_in, methods=["POST"]),
            Route("/sign-out", site.sign_out, methods=["POST"]),
            Route("/api/grade", site.grade, methods=["POST"]),
            Route("/api/model", site.model_facts),
            Route("/health", site.health),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _no_such_address},
        lifespan=lifespan,
    )


class _Site:
    """What each address answers."""

    def __init__(self, model: ServedModel, settings: Settings, access: Access) -> None:
        self.model, self.settings, self.access = model, settings, access
        self.desk = Desk(model.grader, settings.most_waiting)
        self._page = grading_page(model, settings)

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self._page)

    async def style(self, request: Request) -> Response:
        return Response(style_sheet(), media_type="text/css")

    async def script(self, request: Request) -> Response:
        return Response(script(), media_type="text/javascript")

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def model_facts(self, request: Request) -> Response:
        limits = {"max_bytes": self.settings.max_bytes, "kept": self.settings.keep is not None}
        return JSONResponse({**self.model.facts(), **limits, "disclaimer": DISCLAIMER})

    async def grade(self, request: Request) -> Response:
        settings, cam = self.settings, request.query_params.get("cam", "0") not in ("", "0", "false")
        with self.desk.place():
            content = await read_photograph(request, settings.max_bytes, settings.idle_seconds, settings.upload_seconds)
            try:
                return JSONResponse(await self._answer(content, cam))
            except Refusal:
                raise
            except StorageError as error:
                _LOG.error("an answer was not kept: %s", error)
                raise Refusal(507, "The answer could not be kept; the server's log says why.") from error
            except Exception as error:  # its words may tell of paths: the log has them, the client does not
                _LOG.error("a photograph was not graded: %s: %s", type(error).__name__, error)
                raise Refusal(500, "The photograph could not be graded; the server's log says why.") from error

    async def _answer(self, content: bytes, cam: bool) -> dict[str, Any]:
        begun, why_no_heat = time.perf_counter(), None
        try:
            graded = await self.desk.grade(content, cam=cam)
        except PluginError as error:  # a backbone that has no map of features to draw
            if not cam:
                raise
            why_no_heat = printable(str(error))
            graded = await self.desk.grade(content, cam=False)
        answer = answer_of(self.model, graded)
        folder = self.settings.keep
        kept = None if folder is None else await asyncio.to_thread(keep, folder, content, answer)
        if cam:
            answer["pictures"] = await asyncio.to_thread(pictures_of, graded, self.model.grader.mask)
            answer["why_no_heat"] = NO_EVIDENCE if graded.without_evidence else why_no_heat
        return {**answer, "kept": kept, "seconds": round(time.perf_counter() - begun, 3)}

    async def show_sign_in(self, request: Request) -> Response:
        if self.settings.secret is None:
            return redirect("/")
        return HTMLResponse(sign_in_page())

    async def sign_in(self, request: Request) -> Response:
        given = parse_qs(await _short_body(request, self.settings.idle_seconds)).get("password", [""])
        try:
            token = self.access.sign_in(client_of(request.scope), given[0])
        except Refusal as refusal:
            return HTMLResponse(sign_in_page(refusal.sentence), refusal.status, refusal.headers)
        response = redirect("/")
        secure = request.headers.get("origin", "").startswith("https://")  # as the browser sees it, behind any proxy
        response.set_cookie(COOKIE, token, LIFETIME, secure=secure, httponly=True, samesite="strict")
        return response

    async def sign_out(self, request: Request) -> Response:
        for token in session_tokens(request.headers.getlist("cookie")):
            self.access.sessions.end(token)
        response = redirect("/sign-in")
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response


async def _short_body(request: Request, seconds: float) -> str:
    body = b""
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MOST_OF_A_PASSWORD:
                    raise Refusal(413, "That is too long to be the password.")
    except (TimeoutError, ClientDisconnect):
        raise Refusal(408, "The form was not sent in time.", {"Connection": "close"}) from None
    return body.decode("utf-8", "replace")


async def _refused(request: Request, error: Any) -> Response:
    return refuse(error)


async def _no_such_address(request: Request, error: Any) -> Response:
    return JSONResponse({"error": f"{error.detail}."}, error.status_code, error.headers)
