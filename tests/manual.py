"""The pages of the manual, and what stands in them."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.md"
"""Its files and commands build on one another: test_tutorial.py follows it from end to end."""
FOLLOWED = {TUTORIAL, ROOT / "docs" / "weights.md"}
"""So do those of the page on weights, which test_weights_page.py follows."""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


HOOKS = load("hooks")


def rendered(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    return HOOKS.on_page_markdown(text) if ROOT / "docs" in page.parents else text


def blocks_of(page: Path) -> Iterator[Block]:
    text = rendered(page)
    for match in re.finditer(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2] or "", match[3])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def commands_in(block: Block) -> Iterator[list[str]]:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        starts = [place for place, word in enumerate(words) if word.rpartition("/")[2] == "sslkit"]
        for start in starts:
            rest = words[start + 1 :]
            stops = [place for place, word in enumerate(rest) if word in ("&&", "&", "|", ">", ";")]
            yield rest[: min(stops, default=len(rest))]


def install(page: Path, folder: Path) -> list[str]:
    """Write the titled Python blocks of a page as modules, and their entry points; return the modules."""
    modules = []
    for block in blocks_of(page):
        if block.language == "python" and block.title:
            (folder / block.title).write_text(block.text)
            modules.append(block.title.removesuffix(".py"))
        if block.title == "pyproject.toml":
            project = tomllib.loads(block.text)["project"]
            info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
            lines = (f"{name} = {module}\n" for name, module in project["entry-points"]["sslkit"].items())
            (info / "entry_points.txt").write_text("[sslkit]\n" + "".join(lines))
    return modules
