"""Reads the pictures that a run left for its report: files of its own folder, and nothing but pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslkit.checksums import SUMS, require
from sslkit.errors import RunDirectoryError
from sslkit.files import open_file
from sslkit.report.markup import Markup, element
from sslkit.report.picture_shapes import PicturesFile
from sslkit.report.shapes import read_shape
from sslkit.report.tables import Run

_MOST_BYTES = 300_000
"""No picture of a run is as large: 224 pixels a side."""

_SMALL = 64
"""Pictures with no longer side are shown pixel by pixel."""

_KINDS = {"jpg": "JPEG", "png": "PNG"}


def folder_of(run: Run) -> Path:
    """Return the folder of a run's pictures, whether or not it is there."""
    return run.directory / "pictures"


def read_pictures(run: Run) -> dict[str, Any]:
    """Return what pictures.json says; nothing where the run has none, or is not to show any.

    Raises:
        sslkit.errors.RunDirectoryError: if the file holds something else, or the folder was changed.
    """
    index = folder_of(run) / "pictures.json"
    if not index.is_file() or not run.tables.get("report", {}).get("pictures", True):
        return {}
    if (index.with_name(SUMS)).exists():
        require(index.parent)
    return read_shape(index, PicturesFile)


def show(run: Run, picture: Mapping[str, Any], says: str) -> Markup:
    """Return a picture as an element that holds all of it.

    Args:
        run: whose it is.
        picture: its ``file``, ``width`` and ``height``, as pictures.json has them.
        says: what is to be seen, for those who cannot see it.

    Raises:
        sslkit.errors.RunDirectoryError: if the file is missing, or no picture of that size.
    """
    content, width, height = _content(run, picture), picture["width"], picture["height"]
    kind = _KINDS[picture["file"].rpartition(".")[2]].lower()
    pixels = "pixels" if max(width, height) <= _SMALL else None
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return element("img", src=source, alt=says, width=width, height=height, class_=pixels)


def _content(run: Run, picture: Mapping[str, Any]) -> bytes:
    """Return the bytes of a picture, which are a picture of the size that was said."""
    from PIL import Image

    path = folder_of(run) / picture["file"]
    try:
        if path.is_symlink():
            raise OSError("a link, which may lead out of the run")
        with open_file(path) as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise OSError(f"larger than {_MOST_BYTES:,} bytes")
        # The head is read, no pixel: a small file may claim to be a picture larger than any memory.
        with Image.open(io.BytesIO(content), formats=[_KINDS[path.suffix[1:]]]) as image:
            size = image.size
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RunDirectoryError(f"{path} cannot be shown: {error}. Run 'sslkit run' again.") from error
    if size != (picture["width"], picture["height"]):
        said = f"{picture['width']} x {picture['height']}"
        raise RunDirectoryError(
            f"{path} has {size[0]} x {size[1]} pixels, and pictures.json says {said}. Run 'sslkit run' again."
        )
    return content
