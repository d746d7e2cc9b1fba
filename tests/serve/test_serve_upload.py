from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from serving import Site, photograph, site

from sslkit.serve import protocol

MOST = 100_000
FORM = "multipart/form-data; boundary=edge"


def part(content: bytes, disposition: str = 'form-data; name="image"; filename="eye.png"') -> bytes:
    return b"--edge\r\nContent-Disposition: " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    with site(max_bytes=MOST, idle_seconds=0.5, upload_seconds=1.5) as running:
        yield running


def talk(running: Site, *pieces: bytes, pause: float = 0.0, wait: float = 10.0) -> bytes:
    """Send pieces of a request as they are, and return all that comes back before the connection ends."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=wait) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
                threading.Event().wait(pause)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while piece := connection.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionResetError):
            pass
    return answer


def head(*headers: str, path: str = "/api/grade") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


def test_a_form_gives_its_file_among_other_fields(served: Site) -> None:
    plain = part(b"a note", 'form-data; name="note"')
    for body in (part(photograph()), plain + part(photograph()), part(photograph()) + plain):
        reply = served.grade(body + b"--edge--\r\n", Content_Type=FORM)
        assert (reply.status, reply.json["grade"]) == (200, 2)


def test_names_of_files_are_no_paths(served: Site) -> None:
    named = part(photograph(), 'form-data; name="image"; filename="../../etc/passwd\\"><script>"')
    reply = served.grade(named + b"--edge--\r\n", Content_Type=FORM)
    assert reply.status == 200
    assert b"script" not in reply.body
    assert b"passwd" not in reply.body


def test_nothing_is_written_to_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_file(*arguments: object, **options: object) -> None:
        raise AssertionError("a temporary file")

    for name in ("SpooledTemporaryFile", "TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, no_file)
    with site() as running:
        large = part(photograph() + bytes(3_000_000))
        assert running.grade(large + b"--edge--\r\n", Content_Type=FORM).status == 200


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (
            part(photograph()) + part(photograph()) + b"--edge--\r\n",
            FORM,
            "several files; send one photograph at a time",
        ),
        (part(photograph()), FORM, "The form is malformed or ends early"),
        (part(b"", "form-data") * 500 + b"--edge--\r\n", FORM, "more than 16,384 bytes around its file; send the file"),
        (part(bytes(20_000), "form-data; name=note"), FORM, "more than 16,384 bytes around its file; send the file"),
        (b"no form at all", FORM, "The form is malformed or ends early"),
        (b"--edge--\r\n", FORM, "No photograph was sent|The form is malformed"),
        (part(b"text", 'form-data; name="note"') + b"--edge--\r\n", FORM, "No photograph was sent"),
        (photograph(), "multipart/form-data", "The form has no boundary"),
        (photograph(), "multipart/form-data; boundary=" + "x" * 300, "The form is malformed or ends early"),
        (b"", "application/octet-stream", "No photograph was sent: send its bytes, or a form with a file in it"),
    ],
)
def test_requests_without_one_photograph_are_refused(served: Site, body: bytes, kind: str, told: str) -> None:
    reply = served.grade(body, Content_Type=kind)
    assert reply.status == 400
    assert re.search(told, reply.error)


def test_the_largest_upload_is_accepted_and_one_byte_more_is_not(served: Site) -> None:
    image = photograph()
    assert served.grade(image + bytes(MOST - len(image))).status == 200
    reply = served.grade(image + bytes(MOST - len(image) + 1))
    assert (reply.status, reply.error) == (413, "The photograph is too large: up to 0.1 MB are accepted.")
    framed = part(image + bytes(MOST - len(image))) + b"--edge--\r\n"
    assert served.grade(framed, Content_Type=FORM).status == 200
    framed = part(image + bytes(MOST - len(image) + 1)) + b"--edge--\r\n"
    assert served.grade(framed, Content_Type=FORM).status == 413


def test_a_length_that_is_too_large_is_refused_before_the_body(served: Site) -> None:
    for length in (MOST + 1, 10**18):
        answer = talk(served, head(f"Content-Length: {length}"))
        assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_refused_while_it_streams(served: Site) -> None:
    chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
    answer = talk(served, head("Transfer-Encoding: chunked"), *[chunk] * 4)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_shorter_than_its_length_is_given_up(served: Site) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head("Content-Length: 5000") + photograph())
    assert served.grade(photograph()).status == 200
    answer = talk(served, head("Content-Length: 5000"), photograph())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"The upload took too long, and was given up." in answer


def test_a_slow_upload_is_given_up_though_it_never_pauses(served: Site) -> None:
    drops = [b"1\r\nx\r\n"] * 12
    answer = talk(served, head("Transfer-Encoding: chunked"), *drops, pause=0.2)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_slow_form_does_not_sign_in(served: Site) -> None:
    answer = talk(served, head("Content-Length: 50", path="/sign-in"), b"password=")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"The form was not sent in time." in answer


def test_connections_that_send_nothing_or_half_a_request_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "IDLE_SECONDS", 0.3)
    with site() as running:
        for beginning in (
            (),
            (b"GET /health HTTP/1.1\r\nHost: loc",),
            (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET",),
        ):
            answer = talk(running, *beginning, wait=5)
            assert (b"200 OK" in answer) == (len(beginning) == 1 and beginning[0].endswith(b"GET"))


def test_a_request_that_is_being_answered_is_not_closed_but_one_that_never_ends_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "IDLE_SECONDS", 0.1)
    body = head(f"Content-Length: {len(photograph())}") + photograph()
    with site() as running:
        running.grader.may_go_on.clear()
        threading.Timer(1.0, running.grader.may_go_on.set).start()
        assert talk(running, body).startswith(b"HTTP/1.1 200")
        monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
        running.grader.may_go_on.clear()
        assert talk(running, body) == b""


def test_a_connection_that_asks_again_and_again_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "IDLE_SECONDS", 0.3)
    with site() as running, contextlib.closing(HTTPConnection("127.0.0.1", running.port, timeout=5)) as connection:
        connection.connect()
        own = connection.sock
        for _ in range(12):
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            threading.Event().wait(0.1)
        assert connection.sock is own
