"""Makes the pictures of the manual from a finished run of ``examples/dr_rotation.toml``, in a real Chromium.

python docs/pictures.py runs/dr
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from sslkit import build_registry

FOLDER = Path(__file__).parent / "images"
CHROMIUM = "/usr/bin/chromium"
_COLOURS = 200
"""Of a picture's palette: enough for photographs of one kind, and a third of the bytes."""


def main(run: Path) -> None:
    """Write every picture anew."""
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as engine, tempfile.TemporaryDirectory() as scratch:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def shoot(
            name: str,
            address: str,
            width: int,
            height: int,
            act: Callable[[Page], Any] = _nothing,
            part: str = "",
            *,
            dark: bool,
        ) -> None:
            scheme = "dark" if dark else "light"
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1.25
            )
            page = context.new_page()
            page.goto(address)
            act(page)
            shown = page.locator(part) if part else page
            _save(shown.screenshot(), f"{name}{'-dark' if dark else ''}")
            context.close()

        report = (run / "report" / "index.html").resolve().as_uri()
        for dark in (False, True):
            shoot("report", report, 1400, 1020, dark=dark)
            shoot("mistakes", report, 1400, 900, part="#mistakes", dark=dark)
            shoot("views", report, 1400, 900, part="#views", dark=dark)
        photograph = _photograph(Path(scratch))
        with _Served(run) as address:
            for dark in (False, True):
                shoot("serve", address, 1180, 860, lambda page: _grade(page, photograph), dark=dark)
        browser.close()


def _nothing(page: Page) -> None:
    """Leave the page as it opens."""


def _save(screenshot: bytes, name: str) -> None:
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


def _photograph(scratch: Path) -> Path:
    """Write one of the computed photographs."""
    plugin = build_registry().find("dataset", "synthetic-fundus")
    dataset = plugin.cls(plugin.cls.Config(patients=40))
    record = next(record for record in dataset.records() if record.label == 4)
    path = scratch / "photograph.png"
    Image.fromarray(dataset.read(record)).save(path)
    return path


def _grade(page: Page, photograph: Path) -> None:
    page.set_input_files("input[type=file]", photograph)
    page.get_by_text("Grade").first.wait_for()
    page.wait_for_load_state("networkidle")


class _Served:
    """The page on which photographs are graded, while it is open."""

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "sslkit", "serve", str(run), "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"http://\S+", line):
                return found[0]
        raise RuntimeError("the page did not come up")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
