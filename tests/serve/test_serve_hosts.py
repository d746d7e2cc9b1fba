from __future__ import annotations

import re

import pytest

from sslkit.errors import UsageError
from sslkit.serve.hosts import called, comes_from_elsewhere, is_known, is_loopback, names_of


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_is_known(host: str) -> None:
    assert is_loopback(host)
    assert is_known(host, (), exposed=False)


@pytest.mark.parametrize(
    "host", ["", "example.org", "localhost.example.org", "0.0.0.0", "192.0.2.1", "127.0.0.1.nip.io"]
)
def test_other_names_are_not(host: str) -> None:
    assert not is_loopback(host)
    assert not is_known(host, (), exposed=False)


def test_an_exposed_server_answers_to_addresses_and_to_names_it_was_given() -> None:
    assert is_known("192.0.2.1", (), exposed=True)
    assert is_known("grading.example.org", {"grading.example.org"}, exposed=False)
    assert not is_known("rebound.example.org", {"grading.example.org"}, exposed=True)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("Example.ORG.", "example.org"),
        ("evil.org@localhost", "localhost"),
        ("[", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_header(header: str, name: str) -> None:
    assert called(header) == name


def test_names_are_taken_as_browsers_write_them() -> None:
    assert names_of(["Eyes.Example.ORG.", "scanner-2"]) == {"eyes.example.org", "scanner-2"}
    assert names_of([]) == frozenset()


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("https://Eyes.example.org/", r"; did you mean 'eyes\.example\.org'\?"),
        ("eyes.example.org:8443", r"; did you mean 'eyes\.example\.org'\?"),
        ("*.example.org", r"\."),
        ("", r"\."),
    ],
)
def test_what_is_no_name_is_refused(given: str, advice: str) -> None:
    with pytest.raises(
        UsageError, match=rf"--allow-host '{re.escape(given)}' is no name{advice} It takes a name alone"
    ):
        names_of([given])


@pytest.mark.parametrize(
    ("origin", "fetch_site", "refused"),
    [
        (None, None, False),
        ("http://localhost:8000", "same-origin", False),
        ("http://LOCALHOST:8000", None, False),
        ("https://localhost:8000", "same-origin", False),  # a proxy speaks TLS
        ("http://localhost:9000", None, True),
        ("http://evil.example", None, True),
        ("null", None, True),
        ("http://[", None, True),
        (None, "cross-site", True),
        (None, "same-site", True),
        (None, "none", True),
        ("http://localhost:8000", "cross-site", True),
    ],
)
def test_requests_of_other_pages_are_told_by_what_browsers_add(
    origin: str | None, fetch_site: str | None, refused: bool
) -> None:
    assert comes_from_elsewhere("POST", "localhost:8000", origin, fetch_site) is refused
    assert not comes_from_elsewhere("GET", "localhost:8000", origin, fetch_site)
