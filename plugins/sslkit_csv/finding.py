"""Finds the images that a table names, and remembers those that do not exist."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from sslkit import StorageURL, listed, row_word, shown
from sslkit.errors import DataError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""What is tried, in lower and upper case, where a table names images without their extensions."""


class ImagesFolder(Protocol):
    """The folder that all of a table's images lie in, on a disk or in a store."""

    @property
    def root(self) -> str:
        """Its path or URL, for messages."""

    def below(self, name: str) -> str | None:
        """Return the place that a name leads to; None if that is outside the folder."""

    def listing(self, folder: str) -> Collection[str]:
        """Return the names of what lies in the folder of a place; nothing where there is no such folder."""

    def is_there(self, place: str) -> bool:
        """Tell of what no listing names whether it is an image nevertheless."""


class Finder:
    """Finds the images that a table names, and remembers those that do not exist.

    Each folder is listed once: asking the disk for every candidate of every row would take minutes for a large table.
    """

    def __init__(self, table: Path | StorageURL, images: ImagesFolder, extension: str | None) -> None:
        self._table, self._images, self._extension = table, images, extension
        self._endings = [ending for known in EXTENSIONS for ending in (known, known.upper())]
        self._word = row_word(table)
        self._missing = list[str]()

    def find(self, name: str, line: int) -> str:
        """Return the place of an image, whether or not it exists."""
        place = self._images.below(name)
        if place is None:
            raise DataError(
                f"{self._table}, {self._word} {line}: {shown(name)} leaves the images folder {self._images.root}; set "
                "images to a folder that holds all of the table's images, or to its URL"
            )
        if self._extension and not place.lower().endswith(self._extension.lower()):
            place += self._extension
        folder, file = os.path.split(place)
        files = self._images.listing(folder)
        if file in files:
            return place
        found = [] if self._extension else [place + ending for ending in self._endings if file + ending in files]
        if len(found) > 1:
            names = listed(os.path.basename(candidate) for candidate in found)
            raise DataError(f"{self._table}, {self._word} {line}: {shown(name)} may be any of {names}; set extension")
        if not found and not self._images.is_there(place):
            self._missing.append(f"{shown(name)} ({self._word} {line})")
        return found[0] if found else place

    def refuse_missing(self, total: int) -> None:
        """Raise if any image that was asked for does not exist."""
        if self._missing:
            tried = f"with the extension {self._extension}" if self._extension else f"also with {', '.join(EXTENSIONS)}"
            more = ", ..." if len(self._missing) > 3 else ""
            raise DataError(
                f"{len(self._missing)} of the {total} images in {self._table} do not exist: "
                f"{', '.join(self._missing[:3])}{more}; looked for in {self._images.root}, {tried}. "
                "Set images to the folder that the paths are relative to, or take the rows out"
            )
