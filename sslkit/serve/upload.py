"""Reads the photograph of a request into memory: never more than is allowed, never for longer, and never to disk."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from sslkit.serve.refusal import Refusal
from sslkit.serve.settings import MEGABYTE

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # it warns of each odd byte of a stranger

_FRAME = 16_384
"""Bytes that a form may have around the photograph."""


async def read_photograph(request: Request, most: int, idle_seconds: float, upload_seconds: float) -> bytes:
    """Return the bytes of the photograph that a request carries, as its body or as a file of a form.

    Args:
        request: of type ``multipart/form-data``, or else the photograph itself.
        most: bytes that are accepted.
        idle_seconds: how long the sender may pause.
        upload_seconds: how long everything may take.

    Raises:
        Refusal: if it is too large, too slow, malformed or empty.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    form = _Form(options.get(b"boundary", b"")) if kind == b"multipart/form-data" else None
    limit = most + (_FRAME if form else 0)
    _refuse_length(request.headers.get("content-length"), limit, most)
    body = bytearray()
    received = 0
    try:
        async with asyncio.timeout(upload_seconds):
            chunks = request.stream().__aiter__()
            while True:
                async with asyncio.timeout(idle_seconds):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                received += len(chunk)
                if received > limit:
                    raise too_large(most)
                if form is None:
                    body += chunk
                else:
                    form.write(chunk)
    except TimeoutError:
        raise Refusal(408, "The upload took too long, and was given up.", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refusal(400, "The upload was broken off.") from None
    content = bytes(body) if form is None else form.photograph()
    if len(content) > most:
        raise too_large(most)
    if not content:
        raise Refusal(400, "No photograph was sent: send its bytes, or a form with a file in it.")
    return content


def too_large(most: int) -> Refusal:
    """Return the refusal of an upload of more bytes than are accepted."""
    return Refusal(413, f"The photograph is too large: up to {most / MEGABYTE:g} MB are accepted.")


def _refuse_length(told: str | None, limit: int, most: int) -> None:
    """Refuse by what the header tells, before a byte is read; one that tells too little is found out later."""
    if told is not None and told.isascii() and told.isdigit() and int(told[:20]) > limit:
        raise too_large(most)


class _Form:
    """Takes the first file out of a form, piece by piece.

    Starlette's own parser writes files of more than a megabyte to a temporary file, where photographs of patients
    might outlive the process.
    """

    def __init__(self, boundary: bytes) -> None:
        self._content = bytearray()
        self._field = self._value = self._disposition = b""
        self._has_file = self._inside = False
        self._frame = 0
        if not boundary:
            raise Refusal(400, "The form has no boundary: let the program that sends it write its Content-Type.")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_end": self._on_end,
        }
        self._complete = False
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:
            raise _malformed() from None

    def write(self, chunk: bytes) -> None:
        before = len(self._content)
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _malformed() from None
        self._frame += len(chunk) - (len(self._content) - before)
        if self._frame > _FRAME:  # a million parts of nothing would keep the server busy
            raise Refusal(400, f"The form has more than {_FRAME:,} bytes around its file; send the file alone.")

    def photograph(self) -> bytes:
        if not self._complete:
            raise _malformed()
        return bytes(self._content)

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._inside = b"filename" in options
        if self._inside and self._has_file:
            raise Refusal(400, "The form has several files; send one photograph at a time.")
        self._has_file |= self._inside

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._inside:
            self._content += data[start:end]

    def _on_end(self) -> None:
        self._complete = True


def _malformed() -> Refusal:
    return Refusal(400, "The form is malformed or ends early.")
