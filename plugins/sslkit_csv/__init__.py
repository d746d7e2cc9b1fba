"""A data set listed in a table: one row an image, with its label and its patient.

Reads what APTOS (``id_code,diagnosis`` without extensions), EyePACS (``image,level``) and IDRiD (``Image name,...``
with empty columns at the end) come with, and what a spreadsheet saves: a byte order mark, semicolons or tabs, Windows
paths, blank rows. Nothing is guessed about a row that does not fit, or whose image does not exist: it is an error with
its line number.
"""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from pydantic import field_validator, model_validator

from sslkit import (
    ConfigPath,
    Dataset,
    GroupPattern,
    PluginConfig,
    Record,
    groups_in_names,
    hookimpl,
    listed,
    read_table,
    shown,
)
from sslkit.errors import DataError

_DRIVE = re.compile("[A-Za-z]:/")

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
"""What is tried, in lower and upper case, where a table names images without their extensions."""


class CsvConfig(PluginConfig):
    r"""Options of the data set ``csv``.

    Attributes:
        table: the file: UTF-8, its first line names the columns.
        image_column: the column of the images' paths, which also are their ids.
        label_column: the column of the labels; a blank cell is an unlabelled image. "" where the table has no labels.
        group_column: the column of the patients (or whatever must stay on one side of a split); a blank cell is a group
            of its own.
        group_pattern: where no column tells the patient: a regular expression with one group, searched in each image's
            name; what the group matches is the patient. ``"^(\d+)_"`` takes 17 from ``17_left``.
        images: the folder that the paths are relative to; by default the table's own.
        extension: appended to the paths that lack it. By default the paths are taken as they are, and where no such
            file exists the usual extensions are tried.
        delimiter: what parts the cells; by default the one among comma, semicolon and tab that parts the first line.
    """

    table: ConfigPath
    image_column: str = "image"
    label_column: str | None = "label"
    group_column: str | None = None
    group_pattern: GroupPattern = None
    images: ConfigPath | None = None
    extension: str | None = None
    delimiter: str | None = None

    @field_validator("label_column")
    @classmethod
    def _none_is_empty(cls, value: str | None) -> str:
        return value or ""  # what is None is not written to a run's config.toml, and would be the default there

    @field_validator("group_column", "extension", "delimiter")
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
            raise ValueError(f'{shown(value)} is no delimiter; give one character, such as "," or ";" or "\\t"')
        return value

    @model_validator(mode="after")
    def _one_source_of_groups(self) -> Self:
        if self.group_column and self.group_pattern:
            raise ValueError("group_column and group_pattern both tell the patient; give one of them")
        return self


class Csv(Dataset[CsvConfig]):
    """Images that a table lists, with their labels as the table writes them."""

    name: ClassVar[str] = "csv"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[PluginConfig]] = CsvConfig

    def records(self) -> Sequence[Record]:
        """Return one record a row, in the table's order; the id is the path as the table writes it, with slashes."""
        table, root = self.config.table, self.config.images or self.config.table.parent
        if self.config.images and not root.is_dir():
            raise DataError(
                f"the images folder {root} does not exist; set images to the folder that {table.name} means"
            )
        finder = _Finder(table, root, self.config.extension)
        records, rows = list[Record](), dict[str, tuple[int, str]]()
        columns = self._columns()
        for line, cells in read_table(table, columns, delimiter=self.config.delimiter):
            row = dict(zip(columns, cells, strict=True))
            label, group = row.get("label_column", ""), row.get("group_column", "")
            image = row["image_column"].replace("\\", "/")
            path = finder.find(image, line)
            image = posixpath.normpath(image)
            first, before = rows.setdefault(path, (line, label))
            if first != line:
                labels = f"the label {shown(before)} there and {shown(label)} here"
                conflict = f", with {labels}" if label != before else ""
                raise DataError(
                    f"{table}, line {line}: the image {shown(image)} stands in line {first} already{conflict}; "
                    "keep one of the rows"
                )
            source = f"{table.name}, line {line}"
            records.append(Record(id=image, path=Path(path), label=label or None, group=group or None, source=source))
        finder.refuse_missing(len(records))
        if self.config.group_pattern is None:
            return records
        groups = groups_in_names([record.id for record in records], self.config.group_pattern)
        return [replace(record, group=group) for record, group in zip(records, groups, strict=True)]

    def unlisted(self, records: Sequence[Record]) -> list[str]:
        """Return the image files without a row, in folders that hold one with a row; relative to the images folder."""
        root = self.config.images or self.config.table.parent
        listed = {str(record.path) for record in records}
        found = []
        for folder in sorted({os.path.dirname(path) for path in listed}):
            with os.scandir(folder) as entries:
                images = [entry for entry in entries if entry.name.lower().endswith(EXTENSIONS) and _is_file(entry)]
            found += [os.path.relpath(entry.path, root) for entry in images if entry.path not in listed]
        return sorted(found)

    def _columns(self) -> dict[str, str | None]:
        """Return the names of the columns that the table has, by the option that gives each; the image comes first."""
        optional = {"label_column": self.config.label_column, "group_column": self.config.group_column}
        return {"image_column": self.config.image_column, **{key: name for key, name in optional.items() if name}}


class _Finder:
    """Finds the files that a table names, and remembers those that do not exist.

    Each folder is listed once: asking the disk for every candidate of every row would take minutes for a large table.
    """

    def __init__(self, table: Path, root: Path, extension: str | None) -> None:
        self._table, self._root, self._extension = table, str(root), extension
        self._endings = [ending for known in EXTENSIONS for ending in (known, known.upper())]
        self._files = dict[str, set[str]]()
        self._resolved = functools.cache(os.path.realpath)
        self._missing = list[str]()

    def find(self, name: str, line: int) -> str:
        """Return the path of an image, whether or not it exists."""
        path = self._below_root(name, line)
        if self._extension and not path.lower().endswith(self._extension.lower()):
            path += self._extension
        folder, file = os.path.split(path)
        files = self._listing(folder)
        if file in files:
            return path
        found = [] if self._extension else [path + ending for ending in self._endings if file + ending in files]
        if len(found) > 1:
            names = listed(os.path.basename(candidate) for candidate in found)
            raise DataError(f"{self._table}, line {line}: {shown(name)} may be any of {names}; set extension")
        # The listing decides but for file systems that ignore case, or write accents in their own way.
        if not found and not _is_there(path):
            self._missing.append(f"{shown(name)} (line {line})")
        return found[0] if found else path

    def _below_root(self, name: str, line: int) -> str:
        """Return where a name leads; a table is data, and only the configuration may point outside the images folder.

        Links within the folder are followed, wherever they lead: who made the folder made them.
        """
        path = os.path.join(self._root, os.path.normpath(name))
        foreign = _DRIVE.match(name) and not os.path.isabs(name)  # a drive of another system
        if foreign or not (self._is_below(path) or self._is_below_by_a_link(path)):
            raise DataError(
                f"{self._table}, line {line}: {shown(name)} leaves the images folder {self._root}; set images to "
                "a folder that holds all of the table's images"
            )
        return path

    def _is_below(self, path: str) -> bool:
        return os.path.abspath(path).startswith(os.path.join(os.path.abspath(self._root), ""))

    def _is_below_by_a_link(self, path: str) -> bool:
        """Tell whether an absolute path comes to the images folder by a link: a configuration's paths are resolved."""
        folder, file = os.path.split(path)
        return os.path.isabs(folder) and self._is_below(os.path.join(self._resolved(folder), file))

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
                    self._files[folder] = {entry.name for entry in entries if not _is_folder(entry)}
            except (FileNotFoundError, NotADirectoryError):
                self._files[folder] = set()
            except OSError as error:
                raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from None
        return self._files[folder]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def _is_there(path: str) -> bool:
    """Tell whether an image is there; a folder or a broken link named as one is, and fails by name when it is read."""
    return os.path.lexists(path) if path.lower().endswith(EXTENSIONS) else os.path.isfile(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


@hookimpl
def sslkit_datasets() -> list[type[Csv]]:
    """Return the data set ``csv``."""
    return [Csv]
