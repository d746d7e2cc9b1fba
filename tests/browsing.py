"""Pages in a real headless Chromium: what it complains of, what is cut off, and what axe finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")

_CUT_OFF = """() => {
  const wide = document.documentElement.clientWidth;
  const scrolls = (node) => {
    for (let up = node; up; up = up.parentElement)
      if (["auto", "scroll", "hidden"].includes(getComputedStyle(up).overflowX) && up !== document.body
          && up !== document.documentElement) return true;
    return false;
  };
  return [...document.body.querySelectorAll("*")]
    .filter((node) => {
      const box = node.getBoundingClientRect();
      const away = box.right <= 0;  // a drawer or a skip link, out of sight as a whole until it is called for
      return box.width > 0 && box.height > 0 && !away && (box.right > wide + 1 || box.left < -1) && !scrolls(node);
    })
    .map((node) => `${node.tagName.toLowerCase()} ${node.textContent.trim().slice(0, 60)}`);
}"""


@dataclass
class Look:
    """A page that is open, and what the browser has said of it.

    Attributes:
        page: playwright's page.
        said: errors and warnings of its console, and errors of its scripts.
        asked: the addresses that it asked for, its own first.
    """

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def cut_off(self) -> list[str]:
        """Return the elements that reach beyond the window's sides, but for those in boxes that scroll."""
        found: list[str] = self.page.evaluate(_CUT_OFF)
        return found

    def serious(self) -> list[str]:
        """Return what axe finds that is serious or critical (https://github.com/dequelabs/axe-core)."""
        from axe_playwright_python.sync_playwright import Axe

        return [
            f"{finding['id']}: {finding['help']}: {node['html'][:200]}"
            for finding in Axe().run(self.page).response["violations"]
            if finding["impact"] in ("serious", "critical")
            for node in finding["nodes"]
        ]


@contextmanager
def open_page(
    address: str | Path, *, width: int = 1400, height: int = 900, dark: bool = False, **options: Any
) -> Iterator[Look]:
    """Open an address or a file; skips the test, saying so, where there is no Chromium or no playwright.

    Args:
        address: a URL, or the path of a file.
        width: of the window, in CSS pixels.
        height: of the window.
        dark: whether the reader prefers dark pages.
        **options: more of playwright's ``Browser.new_context``.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: dev)")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}; tests/set_up_browser.sh installs it")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", **options
            )
            look = Look(context.new_page())
            look.page.on(
                "console",
                lambda message: look.said.append(message.text) if message.type in ("error", "warning") else None,
            )
            look.page.on("pageerror", lambda error: look.said.append(str(error)))
            look.page.on("request", lambda request: look.asked.append(request.url))
            look.page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
            yield look
        finally:
            browser.close()
