"""Distributions on the path, without an installer."""

from __future__ import annotations

import tomllib
from pathlib import Path


def announce(source: Path, folder: Path) -> None:
    """Write into a folder on the path what an installer would write of a distribution: its entry points."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = (f"{name} = {module}\n" for name, module in project["entry-points"]["sslkit"].items())
    (info / "entry_points.txt").write_text("[sslkit]\n" + "".join(lines))
