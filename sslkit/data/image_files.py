"""Finds image files: named one by one, in folders, by patterns, and in tables."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslkit.data.columns import row_word
from sslkit.data.tables import read_table
from sslkit.errors import DataError
from sslkit.printable import shown

SUFFIXES = (".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings, in lower or upper case, of what counts as an image in a folder."""

_TABLES = (".csv", ".parquet", ".tsv")


@dataclass(frozen=True)
class ImageFiles:
    """Image files that are looked for anew each time they are gone through, in constant memory but for their names.

    A file may be named that is not there: whoever reads it says so. What a folder, a pattern or a table gives comes in
    its place among the others; a file that is named twice comes twice.

    Args:
        given: each a file; a folder, of which every image file below it is taken, sorted, but for hidden ones; a
            pattern, such as ``scans/**/*.jpg``, that is no file's own name; or a table, ``.csv``, ``.parquet`` or
            ``.tsv``.
        image_column: of a table, the column of the paths.
        root: what paths in a table are relative to, and must lie below; None: the table's own folder.
        suffixes: what counts as an image in a folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.png", "a.JPG", ".hidden.png", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in ImageFiles([folder, folder / "b.*"])]
        ['a.JPG', 'b.png', 'b.png']
    """

    given: Sequence[str | Path]
    image_column: str = "image"
    root: Path | None = None
    suffixes: tuple[str, ...] = SUFFIXES

    def __iter__(self) -> Iterator[Path]:
        for name in self.given:
            yield from self._files(Path(name))

    def count(self) -> int:
        """Return how many files there are, at the price of listing the folders.

        Raises:
            DataError: if a folder or a pattern gives none, or a table cannot be read or has no rows.
        """
        return sum(1 for _ in self)

    def _files(self, path: Path) -> Iterator[Path]:
        if _ask(path, os.path.isdir):
            found = self._below(path)
            nothing = f"no image in the folder {path} or in any folder below it; looked for {', '.join(self.suffixes)}"
            yield from _some(found, f"{nothing}. Hidden files are passed over")
            return
        is_pattern = glob.has_magic(str(path)) and not _ask(path, os.path.lexists)
        if path.suffix.lower() in _TABLES and not is_pattern:
            yield from self._rows(path)
        elif is_pattern:
            matches = sorted(glob.iglob(str(path), recursive=True))
            found = (Path(match) for match in matches if _ask(Path(match), os.path.isfile))
            nothing = f"no file fits the pattern {shown(str(path))}; '**' stands for any folders, '*' for any name"
            yield from _some(found, f"{nothing}. Put a pattern in quotes, so that the shell leaves it alone")
        else:
            yield path

    def _below(self, folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
        """Yield the images below a folder in the order of their names, following links but never in a circle."""
        try:
            status = folder.stat()
            if (identity := (status.st_dev, status.st_ino)) in above:
                return
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from None
        for name in names:
            path = folder / name
            if _ask(path, os.path.isdir):
                yield from self._below(path, above | {identity})
            elif path.suffix.lower() in self.suffixes:
                yield path

    def _rows(self, table: Path) -> Iterator[Path]:
        root = os.path.abspath(table.parent if self.root is None else self.root)
        if not os.path.isdir(root):
            raise DataError(f"there is no folder {root}; --root is what the paths in {table} are relative to")
        for line, (name,) in read_table(table, {"--image-column": self.image_column}):
            path = os.path.normpath(os.path.join(root, name.replace("\\", "/")))
            # A table is data: it must not lead to files that whoever grades it never meant.
            if not path.startswith(os.path.join(root, "")):
                raise DataError(
                    f"{table}, {row_word(table)} {line}: {shown(name)} leads out of the folder {root}; give --root, a "
                    "folder that holds all of the table's images"
                )
            yield self._with_suffix(path)

    def _with_suffix(self, path: str) -> Path:
        """Return a path, or where no such file is and a name has no suffix, that with a suffix under which one is."""
        if not os.path.lexists(path) and not Path(path).suffix:
            for suffix in (ending for known in self.suffixes for ending in (known, known.upper())):
                if os.path.isfile(path + suffix):
                    return Path(path + suffix)
        return Path(path)


def _some(paths: Iterable[Path], nothing: str) -> Iterator[Path]:
    """Yield paths, and refuse that there are none."""
    empty = True
    for path in paths:
        empty = False
        yield path
    if empty:
        raise DataError(nothing)


def _ask(path: Path, question: Callable[[Path], bool]) -> bool:
    """Ask the disk about a path; what cannot be a path is not there."""
    try:
        return question(path)
    except (OSError, ValueError):
        return False
