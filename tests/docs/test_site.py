"""The site as its readers see it: built, served, and opened in a real browser."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import open_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["index.html", "configuration.html", "cli.html", "reference.html", "tasks/index.html", "recipes/aptos.html"]
"""One of each kind: prose, tables, generated references, pages below a folder."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (extra: docs)")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    assert built.returncode == 0, built.stdout + built.stderr
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_of_the_site_is_sound(site: str, page: str, width: int) -> None:
    with open_page(f"{site}/{page}", width=width) as look:
        look.page.wait_for_load_state("networkidle")
        assert (look.said, look.cut_off(), look.serious()) == ([], [], [])
        assert {address for address in look.asked if not address.startswith(site)} == set()


def test_dark_pages_are_readable(site: str) -> None:
    with open_page(f"{site}/index.html", dark=True) as look:
        assert look.serious() == []


def test_the_search_finds_a_page(site: str) -> None:
    with open_page(f"{site}/index.html") as look:
        look.page.get_by_role("textbox", name="Search").fill("colorization")
        look.page.locator(".md-search-result__link", has_text="Colorization").first.wait_for(timeout=10_000)
        look.page.locator(".md-search-result__link", has_text="Colorization").first.click()
        look.page.wait_for_load_state()
        assert "colorization" in look.page.url or "configuration" in look.page.url
