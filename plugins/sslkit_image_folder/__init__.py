"""A data set that is a folder: each folder in it a class, named by its label, or all images side by side, unlabelled.

An image's label is the first folder on the way to it: ``<path>/Mild/left/0024.png`` is labelled ``Mild``. An image that
lies directly in ``<path>``, with or without class folders beside it, has no label. The folder may lie in a store, at a
URL such as ``s3://bucket/train``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator

from sslkit import (
    Dataset,
    GroupPattern,
    Location,
    PluginConfig,
    Record,
    StorageOptions,
    StoredObject,
    groups_in_names,
    hookimpl,
    list_objects,
)
from sslkit.errors import DataError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as an image, in lower or upper case; other files are passed over."""


class ImageFolderConfig(PluginConfig):
    r"""Options of the data set ``image-folder``.

    Attributes:
        path: the folder, or its URL, such as ``s3://bucket/train``.
        group_pattern: a regular expression with one group, searched in each file's name; what the group matches is the
            patient. ``"^(\d+)_"`` takes 17 from ``17_left.jpeg``. By default each image is a group of its own.
        storage_options: what fsspec is given beside the URL, such as ``{endpoint_url = "http://minio:9000"}`` or
            ``{anon = true}``; no secrets, which belong in the environment.
    """

    path: Location
    group_pattern: GroupPattern = None
    storage_options: StorageOptions | None = None

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        if self.storage_options and isinstance(self.path, Path):
            raise ValueError("storage_options are for a URL, and path is none; leave them out")
        return self


class ImageFolder(Dataset[ImageFolderConfig]):
    """Images below a folder, labelled by the folders that they are in."""

    name: ClassVar[str] = "image-folder"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[PluginConfig]] = ImageFolderConfig

    @property
    def storage_options(self) -> Mapping[str, Any]:
        """What fsspec is given beside the URL."""
        return self.config.storage_options or {}

    def records(self) -> Sequence[Record]:
        """Return one record an image, sorted by id; the id is its path below the folder, with slashes."""
        root = self.config.path
        found: dict[str, Path | StoredObject]
        if isinstance(root, Path):
            if not root.is_dir():
                kind = "a file" if root.exists() else "missing"
                raise DataError(f"{root} is {kind}; set path to the folder of the images")
            found = {name: root / name for name in _image_ids(root)}
        else:
            objects = list_objects(root, self.storage_options)
            found = {name: stored for name, stored in objects if _is_image(name)}
        ids = sorted(found)
        if not ids:
            raise DataError(f"no image in {root} or in any folder below it; looked for {', '.join(EXTENSIONS)}")
        groups = groups_in_names(ids, self.config.group_pattern)
        return [_record(id_, found.pop(id_), group) for id_, group in zip(ids, groups, strict=True)]


def _record(name: str, place: Path | StoredObject, group: str | None) -> Record:
    label = name.split("/")[0] if "/" in name else None
    if isinstance(place, Path):
        return Record(id=name, path=place, label=label, group=group)
    return Record(id=name, label=label, group=group, stored=place)


def _is_image(name: str) -> bool:
    """Tell whether a name in a store is that of an image, neither hidden nor in a hidden folder."""
    return name.lower().endswith(EXTENSIONS) and not any(part.startswith(".") for part in name.split("/"))


def _image_ids(root: Path) -> Iterator[str]:
    """Yield the paths of all images below a folder, following symbolic links but never in a circle."""
    seen = {_identity(root): "."}
    pending = [("", frozenset(seen))]
    while pending:
        prefix, above = pending.pop()
        for entry in _entries(root / prefix):
            path = prefix + entry.name
            if _is_folder(entry):
                identity = _identity(Path(entry.path))
                if identity in above:
                    continue
                if identity in seen:
                    raise DataError(
                        f"{path} and {seen[identity]} in {root} are one folder, by a symbolic link; its images would "
                        "count twice, so remove the link"
                    )
                seen[identity] = path
                pending.append((f"{path}/", above | {identity}))
            # A pipe or a link to nothing is listed too: reading it fails by name, where passing it over loses an image.
            elif entry.name.lower().endswith(EXTENSIONS):
                yield path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be listed: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


@hookimpl
def sslkit_datasets() -> list[type[ImageFolder]]:
    """Return the data set ``image-folder``."""
    return [ImageFolder]
