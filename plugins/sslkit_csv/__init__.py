"""A data set listed in a table, of text or Parquet: one row an image, with its label and its patient.

Reads what APTOS (``id_code,diagnosis`` without extensions), EyePACS (``image,level``) and IDRiD (``Image name,...``
with empty columns at the end) come with, and what a spreadsheet saves: a byte order mark, semicolons or tabs, Windows
paths, blank rows. Nothing is guessed about a row that does not fit, or whose image does not exist: it is an error with
its line number. Table and images may lie in a store, at URLs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import field_validator, model_validator

from sslkit import (
    Dataset,
    GroupPattern,
    Location,
    PluginConfig,
    Record,
    StorageOptions,
    StorageURL,
    groups_in_names,
    hookimpl,
    read_table,
    row_word,
    shown,
)
from sslkit.errors import DataError
from sslkit_csv.finding import EXTENSIONS, Finder
from sslkit_csv.local import LocalFolder
from sslkit_csv.remote import StoredFolder

__all__ = ["EXTENSIONS", "Csv", "CsvConfig", "sslkit_datasets"]


class CsvConfig(PluginConfig):
    r"""Options of the data set ``csv``.

    Attributes:
        table: the file: UTF-8, its first line names the columns; or Parquet, where it ends in ``.parquet``. A path, or
            a URL such as ``s3://bucket/labels.parquet``.
        image_column: the column of the images' paths, which also are their ids.
        label_column: the column of the labels; a blank cell is an unlabelled image. "" where the table has no labels.
        group_column: the column of the patients (or whatever must stay on one side of a split); a blank cell is a group
            of its own.
        group_pattern: where no column tells the patient: a regular expression with one group, searched in each image's
            name; what the group matches is the patient. ``"^(\d+)_"`` takes 17 from ``17_left``.
        images: the folder that the paths are relative to, or its URL; by default the table's own.
        extension: appended to the paths that lack it. By default the paths are taken as they are, and where no such
            file exists the usual extensions are tried.
        delimiter: what parts the cells; by default the one among comma, semicolon and tab that parts the first line.
        storage_options: what fsspec is given beside a URL, such as ``{endpoint_url = "http://minio:9000"}`` or
            ``{anon = true}``; no secrets, which belong in the environment.
    """

    table: Location
    image_column: str = "image"
    label_column: str | None = "label"
    group_column: str | None = None
    group_pattern: GroupPattern = None
    images: Location | None = None
    extension: str | None = None
    delimiter: str | None = None
    storage_options: StorageOptions | None = None

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

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if self.delimiter and row_word(self.table) == "row":
            raise ValueError("delimiter parts the cells of text, and a Parquet table has none; leave it out")
        if self.storage_options and not any(isinstance(place, StorageURL) for place in (self.table, self.images)):
            raise ValueError("storage_options are for URLs, and neither table nor images is one; leave them out")
        return self


class Csv(Dataset[CsvConfig]):
    """Images that a table lists, with their labels as the table writes them."""

    name: ClassVar[str] = "csv"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[PluginConfig]] = CsvConfig

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """What fsspec is given beside the URLs of table and images."""
        return self.config.storage_options or {}

    def records(self) -> Sequence[Record]:
        """Return one record a row, in the table's order; the id is the path as the table writes it, with slashes.

        That of a URL is what follows the images folder.
        """
        table, images = self.config.table, self._images()
        finder = Finder(table, images, self.config.extension)
        records, rows = list[Record](), dict[str, tuple[int, str]]()
        columns, word = self._columns(), row_word(table)
        delimiter, options = self.config.delimiter, self.storage_options
        for line, cells in read_table(table, columns, delimiter=delimiter, storage_options=options):
            row = dict(zip(columns, cells, strict=True))
            label, group = row.get("label_column", ""), row.get("group_column", "")
            image = row["image_column"].replace("\\", "/")
            place = finder.find(image, line)
            image = images.id_of(image)
            first, before = rows.setdefault(place, (line, label))
            if first != line:
                labels = f"the label {shown(before)} there and {shown(label)} here"
                conflict = f", with {labels}" if label != before else ""
                raise DataError(
                    f"{table}, {word} {line}: the image {shown(image)} stands in {word} {first} already{conflict}; "
                    "keep one of the rows"
                )
            source = f"{table.name}, {word} {line}"
            record = Record(id=image, label=label or None, group=group or None, source=source)
            records.append(images.located(record, place))
        finder.refuse_missing(len(records))
        if self.config.group_pattern is None:
            return records
        groups = groups_in_names([record.id for record in records], self.config.group_pattern)
        return [replace(record, group=group) for record, group in zip(records, groups, strict=True)]

    def unlisted(self, records: Sequence[Record]) -> list[str]:
        """Return the image files without a row, in folders that hold one with a row; relative to the images folder."""
        return self._images().unlisted(records)

    def _images(self) -> LocalFolder | StoredFolder:
        root = self.config.images or self.config.table.parent
        if not isinstance(root, Path):
            return StoredFolder(root, self.storage_options)
        if self.config.images and not root.is_dir():
            raise DataError(
                f"the images folder {root} does not exist; set images to the folder that {self.config.table.name} means"
            )
        return LocalFolder(root)

    def _columns(self) -> dict[str, str | None]:
        """Return the names of the columns that the table has, by the option that gives each; the image comes first."""
        optional = {"label_column": self.config.label_column, "group_column": self.config.group_column}
        return {"image_column": self.config.image_column, **{key: name for key, name in optional.items() if name}}


@hookimpl
def sslkit_datasets() -> list[type[Csv]]:
    """Return the data set ``csv``."""
    return [Csv]
