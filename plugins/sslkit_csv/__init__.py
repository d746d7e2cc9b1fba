"""A data set listed in a table: one row an image, with its label and its patient.

Reads what APTOS (``id_code,diagnosis`` without extensions), EyePACS (``image,level``) and IDRiD (``Image name,...``
with empty columns at the end) come with, and what a spreadsheet saves: a byte order mark, semicolons or tabs, Windows
paths, blank rows. Nothing is guessed about a row that does not fit, or whose image does not exist: it is an error with
its line number.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from sslkit import ConfigPath, Dataset, PluginConfig, Record, hookimpl
from sslkit.errors import DataError, did_you_mean

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""What is tried, in lower and upper case, where a table names images without their extensions."""


class CsvConfig(PluginConfig):
    """Options of the data set ``csv``.

    Attributes:
        table: the file: UTF-8, its first line names the columns.
        image_column: the column of the images' paths, which also are their ids.
        label_column: the column of the labels; a blank cell is an unlabelled image. "" where the table has no labels.
        group_column: the column of the patients (or whatever must stay on one side of a split); a blank cell is a group
            of its own.
        images: the folder that the paths are relative to; by default the table's own.
        extension: appended to the paths that lack it. By default the paths are taken as they are, and where no such
            file exists the usual extensions are tried.
        delimiter: what parts the cells; by default the one among comma, semicolon and tab that parts the first line.
    """

    table: ConfigPath
    image_column: str = "image"
    label_column: str | None = "label"
    group_column: str | None = None
    images: ConfigPath | None = None
    extension: str | None = None
    delimiter: str | None = None

    @field_validator("label_column", "group_column", "extension", "delimiter")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("extension")
    @classmethod
    def _with_dot(cls, value: str | None) -> str | None:
        return f".{value.removeprefix('.')}" if value else None

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value in '"\r\n'):
            raise ValueError(f'{value!r} is no delimiter; give one character, such as "," or ";" or "\\t"')
        return value


class Csv(Dataset[CsvConfig]):
    """Images that a table lists, with their labels as the table writes them."""

    name: ClassVar[str] = "csv"
    Config: ClassVar[type[PluginConfig]] = CsvConfig

    def records(self) -> Sequence[Record]:
        """Return one record a row, in the table's order; the id is the path as the table writes it, with slashes."""
        table, root = self.config.table, self.config.images or self.config.table.parent
        if not root.is_dir():
            raise DataError(
                f"the images folder {root} does not exist; set images to the folder that {table.name} means"
            )
        finder = _Finder(table, root, self.config.extension)
        records, lines = list[Record](), dict[str, int]()
        for line, image, label, group in _rows(self.config):
            path = finder.find(image, line)
            image = posixpath.normpath(image)
            if (first := lines.setdefault(path, line)) != line:
                raise DataError(
                    f"{table}, line {line}: the image {image!r} stands in line {first} already; keep one of the rows"
                )
            records.append(Record(id=image, path=Path(path), label=label, group=group))
        finder.refuse_missing(len(records))
        if not records:
            raise DataError(f"{table} has no rows below its header; it needs one for each image")
        return records


def _rows(config: CsvConfig) -> Iterator[tuple[int, str, str | None, str | None]]:
    """Yield line number, image, label and group of each row that is not blank."""
    text = _read_text(config.table)
    delimiter = config.delimiter or _sniff_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    image_at, label_at, group_at = 0, None, None
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if columns is None:
                columns = cells
                image_at = _column(config.table, columns, "image_column", config.image_column)
                if config.label_column is not None:
                    label_at = _column(config.table, columns, "label_column", config.label_column)
                if config.group_column is not None:
                    group_at = _column(config.table, columns, "group_column", config.group_column)
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{config.table}, line {start}: {len(cells)} cells where the header has {len(columns)} columns; "
                    f"quote cells that hold {delimiter!r}, or set delimiter"
                )
            if not cells[image_at]:
                raise DataError(f"{config.table}, line {start}: the cell of column {config.image_column!r} is blank")
            label = cells[label_at] or None if label_at is not None else None
            group = cells[group_at] or None if group_at is not None else None
            yield start, cells[image_at].replace("\\", "/"), label, group
    except csv.Error as error:
        raise DataError(f"{config.table}, line {line}: not a valid table: {error}; look for a stray quote") from None
    if columns is None:
        raise DataError(f"{config.table} is empty; its first line must name the columns")


def _read_text(table: Path) -> str:
    try:
        data = table.read_bytes()
    except FileNotFoundError:
        others = [path.name for path in table.parent.glob(f"*{table.suffix}")] if table.parent.is_dir() else []
        raise DataError(f"no table at {table}{did_you_mean(table.name, others)}") from None
    except OSError as error:
        raise DataError(f"the table {table} cannot be read: {error.strerror}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{table} is UTF-16 text; save it as CSV in UTF-8")
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{table} is a spreadsheet or zip file, not text; save it as CSV in UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{table}, line {line}: not UTF-8 text; save it as CSV in UTF-8") from None


def _sniff_delimiter(text: str) -> str:
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    return max(",;\t", key=header.count)


def _column(table: Path, columns: Sequence[str], option: str, name: str) -> int:
    """Return the place of a column."""
    if columns.count(name) == 1:
        return columns.index(name)
    if name in columns:
        raise DataError(f"{table} has {columns.count(name)} columns {name!r} ({option}); rename all but one")
    raise DataError(
        f"{table} has no column {name!r} ({option}){did_you_mean(name, columns)}; "
        f"its columns: {', '.join(column for column in columns if column)}. Set {option} to one of them"
    )


class _Finder:
    """Finds the files that a table names, and remembers those that do not exist.

    Each folder is listed once: asking the disk for every candidate of every row would take minutes for a large table.
    """

    def __init__(self, table: Path, root: Path, extension: str | None) -> None:
        self._table, self._root, self._extension = table, str(root), extension
        self._endings = [ending for known in EXTENSIONS for ending in (known, known.upper())]
        self._files = dict[str, set[str]]()
        self._missing = list[str]()

    def find(self, name: str, line: int) -> str:
        """Return the path of an image, whether or not it exists."""
        relative = posixpath.normpath(name)
        if relative == ".." or relative.startswith("../"):
            raise DataError(f"{self._table}, line {line}: {name!r} leaves the images folder {self._root}; set images")
        path = os.path.join(self._root, relative)
        if self._extension and not path.lower().endswith(self._extension.lower()):
            path += self._extension
        folder, file = os.path.split(path)
        files = self._listing(folder)
        if file in files:
            return path
        found = [] if self._extension else [path + ending for ending in self._endings if file + ending in files]
        if len(found) > 1:
            names = ", ".join(os.path.basename(candidate) for candidate in found)
            raise DataError(f"{self._table}, line {line}: {name!r} may be any of {names}; set extension")
        # The listing decides but for file systems that ignore case, or write accents in their own way.
        if not found and not os.path.isfile(path):
            self._missing.append(f"{name!r} (line {line})")
        return found[0] if found else path

    def refuse_missing(self, total: int) -> None:
        """Raise if any image that was asked for does not exist."""
        if self._missing:
            tried = f"with the extension {self._extension}" if self._extension else f"also with {', '.join(EXTENSIONS)}"
            more = ", ..." if len(self._missing) > 3 else ""
            raise DataError(
                f"{len(self._missing)} of the {total} images in {self._table} do not exist: "
                f"{', '.join(self._missing[:3])}{more}; looked for in {self._root}, {tried}. "
                "Set images to the folder that the paths are relative to, or take the rows out"
            )

    def _listing(self, folder: str) -> set[str]:
        if folder not in self._files:
            try:
                with os.scandir(folder) as entries:
                    self._files[folder] = {entry.name for entry in entries if entry.is_file()}
            except (FileNotFoundError, NotADirectoryError):
                self._files[folder] = set()
            except OSError as error:
                raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from None
        return self._files[folder]


@hookimpl
def sslkit_datasets() -> list[type[Csv]]:
    """Return the data set ``csv``."""
    return [Csv]
