from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from serving import PASSWORD, Reply, Site, photograph, site

from sslkit.serve import secret as secrets_of
from sslkit.serve.attempts import MOST_OF_A_CLIENT, WINDOW
from sslkit.serve.secret import Secret
from sslkit.serve.sessions import LIFETIME


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture
def guarded() -> Iterator[Site]:
    CLOCK.now += 10 * WINDOW
    with site(secret=Secret(PASSWORD), clock=CLOCK, names=frozenset({"grading.example.org"})) as running:
        yield running


def sign_in(running: Site, password: str = PASSWORD, **headers: str) -> Reply:
    form = urlencode({"password": password})
    return running.ask("POST", "/sign-in", form, Content_Type="application/x-www-form-urlencoded", **headers)


def cookie_of(reply: Reply) -> str:
    return reply.headers["set-cookie"].partition(";")[0]


def test_without_the_password_nothing_is_told(guarded: Site) -> None:
    page = guarded.ask("GET", "/")
    assert (page.status, page.headers["location"]) == (303, "/sign-in")
    for method, path in (("GET", "/api/model"), ("POST", "/api/grade"), ("GET", "/nothing"), ("POST", "/sign-out")):
        reply = guarded.ask(method, path, photograph() if path == "/api/grade" else None)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert reply.error == "Sign in first: open the page, or send the header 'Authorization: Bearer SECRET'."
    assert guarded.grader.names == []
    assert guarded.ask("GET", "/health").status == 200
    form = guarded.ask("GET", "/sign-in")
    assert form.status == 200
    assert b"dr" not in form.body  # the run


def test_the_password_opens_a_session(guarded: Site) -> None:
    reply = sign_in(guarded)
    assert (reply.status, reply.headers["location"]) == (303, "/")
    attributes = {part.strip().lower() for part in reply.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={LIFETIME}"} <= attributes
    assert "secure" not in attributes
    assert PASSWORD not in reply.headers["set-cookie"]
    cookie = cookie_of(reply)
    assert guarded.ask("GET", "/", Cookie=cookie).status == 200
    assert guarded.grade(photograph(), Cookie=f"other=1; {cookie}").status == 200
    for odd in ('a={"x":1}', "a b=1", "=", "alone", "\xe9=1"):  # as other programs of this machine set them
        assert guarded.ask("GET", "/", Cookie=f"{odd}; {cookie}").status == 200
    assert guarded.ask("GET", "/api/model", Cookie=f"{cookie}x").status == 401
    assert guarded.ask("GET", "/api/model", Cookie="a b=c; ]=").status == 401


def test_a_session_behind_tls_has_a_secure_cookie(guarded: Site) -> None:
    reply = sign_in(guarded, Host="grading.example.org", Origin="https://grading.example.org")
    assert "secure" in reply.headers["set-cookie"].lower()


def test_a_session_ends_by_signing_out_and_by_itself(guarded: Site) -> None:
    first, second = (cookie_of(sign_in(guarded)) for _ in range(2))
    out = guarded.ask("POST", "/sign-out", Cookie=first)
    assert (out.status, out.headers["location"]) == (303, "/sign-in")
    assert guarded.ask("GET", "/api/model", Cookie=first).status == 401
    assert guarded.ask("GET", "/api/model", Cookie=second).status == 200
    CLOCK.now += LIFETIME
    assert guarded.ask("GET", "/api/model", Cookie=second).status == 401


def test_programs_send_the_password_itself(guarded: Site) -> None:
    assert guarded.grade(photograph(), Authorization=f"Bearer {PASSWORD}").status == 200
    wrong = guarded.grade(photograph(), Authorization="Bearer guessed password")
    assert (wrong.status, wrong.error) == (401, "That is not the password.")
    assert guarded.grade(photograph(), Authorization=f"Basic {PASSWORD}").status == 401


def test_a_password_of_other_letters_opens_the_page_and_the_api() -> None:
    with site(secret=Secret("Käse und Brötchen")) as running:
        assert sign_in(running, "Käse und Brötchen").status == 303
        header = "Bearer Käse und Brötchen".encode().decode("latin-1")  # the bytes that curl sends
        assert running.ask("GET", "/api/model", Authorization=header).status == 200
        assert running.ask("GET", "/api/model", Authorization="Bearer K\xe4se").status == 401


def test_a_wrong_password_is_told_on_the_page(guarded: Site) -> None:
    reply = sign_in(guarded, "guess <b>")
    assert reply.status == 401
    assert b'role="alert"' in reply.body
    assert b"That is not the password." in reply.body
    assert b"guess" not in reply.body
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("", 401),
        ("password", 401),
        ("other=1", 401),
        ("&".join(f"a{n}=1" for n in range(500)), 401),
        ("password=" + "x" * 5000, 413),
        ("password=%ff%00", 401),
    ],
)
def test_forms_that_hold_no_password_are_refused(guarded: Site, form: str, status: int) -> None:
    reply = guarded.ask("POST", "/sign-in", form, Content_Type="application/x-www-form-urlencoded")
    assert reply.status == status
    assert "set-cookie" not in reply.headers


def test_compare_digest_decides(guarded: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_of.hmac, "compare_digest", lambda one, other: True)
    assert sign_in(guarded, "anything at all").status == 303
    monkeypatch.setattr(secrets_of.hmac, "compare_digest", lambda one, other: False)
    assert sign_in(guarded, PASSWORD).status == 401


def test_too_many_failures_are_told_to_wait_even_with_the_right_password(guarded: Site) -> None:
    session = cookie_of(sign_in(guarded))
    for _ in range(MOST_OF_A_CLIENT):
        assert sign_in(guarded, "wrong password").status == 401
    for reply in (sign_in(guarded), guarded.ask("GET", "/api/model", Authorization=f"Bearer {PASSWORD}")):
        assert (reply.status, reply.headers["retry-after"]) == (429, str(int(WINDOW)))
        assert f"Too many failed attempts; try again in {int(WINDOW)} seconds.".encode() in reply.body
    assert guarded.ask("GET", "/", Cookie=session).status == 200  # whoever is in stays in
    CLOCK.now += WINDOW
    assert sign_in(guarded).status == 303


def test_without_a_secret_there_is_nothing_to_sign_in_to() -> None:
    with site() as running:
        assert running.ask("GET", "/sign-in").headers["location"] == "/"
        assert b"Sign out" not in running.ask("GET", "/").body


def test_other_names_are_refused_before_anything_else(guarded: Site) -> None:
    reply = guarded.ask("GET", "/health", Host="evil.example:8000")
    assert (reply.status, reply.error) == (
        400,
        "This server does not answer to the name 'evil.example'. If that is its name, start it with --allow-host "
        "evil.example.",
    )
    assert guarded.ask("GET", "/health", Host="<script>").error == "This server does not answer to the name '<script>'."
    assert "--allow-host my-host.example." in guarded.ask("GET", "/health", Host="my-host.example").error
    assert guarded.ask("GET", "/health", Host="grading.example.org").status == 200
    assert guarded.ask("GET", "/health", Host="192.0.2.7").status == 400


def test_an_exposed_server_answers_to_addresses() -> None:
    with site(secret=Secret(PASSWORD), exposed=True) as running:
        assert running.ask("GET", "/health", Host="192.0.2.7:8000").status == 200
        assert running.ask("GET", "/health", Host="rebound.example").status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_pages_cannot_send_photographs_or_sign_in(headers: dict[str, str]) -> None:
    with site() as running:
        for path in ("/api/grade", "/sign-in", "/sign-out"):
            reply = running.ask("POST", path, photograph(), **headers)
            assert (reply.status, reply.error) == (403, "Requests that pages of other sites make are refused.")
        own = {"Origin": f"http://127.0.0.1:{running.port}", "Sec_Fetch_Site": "same-origin"}
        assert running.grade(photograph(), **own).status == 200
        assert running.grader.names == ["photograph"]
