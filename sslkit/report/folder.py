"""The folder that a report is written to: what may be written there, and what an earlier report left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sslkit.errors import UsageError
from sslkit.files import make_folder, write_atomically, write_text
from sslkit.report.figures import Drawing
from sslkit.report.page import GENERATOR

INDEX = "index.html"


def check_report_folder(folder: Path) -> None:
    """Refuse a folder of the user's choice that holds anything but an earlier report.

    Raises:
        sslkit.errors.UsageError: if it is no folder, or holds what is not ours to replace.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"cannot write the report to {folder}: it is no folder; give --output a new one")
    if folder.is_dir() and any(folder.iterdir()) and not _is_report(folder / INDEX):
        raise UsageError(
            f"cannot write the report to {folder}: it holds other files and no earlier report; "
            "give --output a new folder, or an empty one"
        )


def write_drawings(folder: Path, drawings: Sequence[Drawing]) -> None:
    """Write figures as SVG and PNG into a folder, and remove those of an earlier report that are drawn no more.

    The folder is made where it is missing. A PNG is removed only beside its SVG: one that stands alone is somebody
    else's.
    """
    make_folder(folder)
    for drawing in drawings:
        write_text(folder / f"{drawing.name}.svg", drawing.standalone)
        if drawing.png:
            write_atomically(folder / f"{drawing.name}.png", partial(_write, drawing.png))
    drawn = {drawing.name for drawing in drawings}
    for earlier in folder.glob("*.svg"):
        if earlier.stem not in drawn:  # of arms or shares that the run has no more
            earlier.with_suffix(".png").unlink(missing_ok=True)
            earlier.unlink()


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def _is_report(index: Path) -> bool:
    return index.is_file() and GENERATOR in index.read_text(encoding="utf-8", errors="replace")
