"""A data set in one ``.npz`` file, laid out as MedMNIST does (Yang et al. 2023, arXiv 2110.14795).

The file holds ``train_images``, ``train_labels`` and the same for ``val`` and ``test``. The splits are put together:
the toolkit draws its own folds. Patients are not recorded in this layout, so that every image is a group of its own.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import field_validator

from sslkit import ConfigPath, Dataset, PluginConfig, Record, hookimpl, shown
from sslkit.errors import DataError, did_you_mean

Split = Literal["train", "val", "test"]


class NpzConfig(PluginConfig):
    """Options of the data set ``npz``.

    Attributes:
        path: the file.
        splits: which of the file's splits to take, in this order.
    """

    path: ConfigPath
    splits: tuple[Split, ...] = ("train", "val", "test")

    @field_validator("splits")
    @classmethod
    def _each_once(cls, value: tuple[Split, ...]) -> tuple[Split, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"{shown(list(value))} must name at least one split, and each once: train, val, test")
        return value


class Npz(Dataset[NpzConfig]):
    """Images and labels of one NumPy archive.

    Images are uint8 (M, H, W) or (M, H, W, 3), labels whole numbers (M,) or (M, 1). A process that reads an image keeps
    the images of its split in memory; listing the records reads the labels alone.
    """

    name: ClassVar[str] = "npz"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[PluginConfig]] = NpzConfig

    def __init__(self, config: NpzConfig, *args: Any) -> None:
        super().__init__(config, *args)
        self._images: dict[str, npt.NDArray[np.uint8]] = {}
        self._digest: str | None = None

    def records(self) -> Sequence[Record]:
        """Return one record an image, split after split; the ids are ``train/000000`` and so on."""
        headers = self._headers()
        records: list[Record] = []
        for split in self.config.splits:
            num_images = _check_images(f"{split}_images", *headers[f"{split}_images"])
            _check_labels(f"{split}_labels", *headers[f"{split}_labels"], num_images)
            try:
                labels = self._load(f"{split}_labels").reshape(-1).tolist()
            except OSError as error:
                raise DataError(str(error)) from error
            records.extend(Record(id=f"{split}/{row:06d}", label=label) for row, label in enumerate(labels))
        if not records:
            raise DataError(f"{self.config.path} holds no image in {', '.join(self.config.splits)}")
        return records

    def read(self, record: Record) -> npt.NDArray[np.uint8]:
        """Return uint8 pixels (H, W) or (H, W, 3), read-only."""
        split, _, row = record.id.partition("/")
        if split not in self._images:
            images = self._load(f"{split}_images")
            images.flags.writeable = False
            self._images[split] = images
        pixels: npt.NDArray[np.uint8] = self._images[split][int(row)]
        return pixels

    def fingerprint(self, record: Record) -> str:
        """Return a digest of the file and the image's id, without decompressing anything."""
        if self._digest is None:
            with self.config.path.open("rb") as file:
                self._digest = hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(f"{self._digest}/{record.id}".encode()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the images behind: a worker process reads its own."""
        return self.__dict__ | {"_images": {}}

    def _load(self, array: str) -> npt.NDArray[Any]:
        try:
            with np.load(self.config.path, allow_pickle=False) as archive:
                loaded: npt.NDArray[Any] = archive[array]
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise OSError(f"{self.config.path}: {array} is damaged: {error}") from error
        return loaded

    def _headers(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return shape and dtype of the arrays that are needed, from their headers."""
        path = self.config.path
        wanted = [f"{split}_{kind}" for split in self.config.splits for kind in ("images", "labels")]
        try:
            with zipfile.ZipFile(path) as archive:
                present = [name.removesuffix(".npy") for name in archive.namelist()]
                missing = [name for name in wanted if name not in present]
                if missing:
                    raise DataError(
                        f"{path} lacks {', '.join(missing)}{did_you_mean(missing[0], present)}; its arrays: "
                        f"{', '.join(present) or 'none'}. Set splits to those that it holds"
                    )
                return {name: _header(archive, name) for name in wanted}
        except FileNotFoundError:
            others = [other.name for other in path.parent.glob("*.npz")] if path.parent.is_dir() else []
            raise DataError(f"no file at {path}{did_you_mean(path.name, others)}") from None
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise DataError(f"{path} is not a .npz file, or a damaged one: {error}") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _header(archive: zipfile.ZipFile, array: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(f"{array}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _check_images(array: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Return the number of images."""
    if dtype.hasobject:
        raise DataError(f"{array} holds Python objects, which are never loaded; save it as a uint8 array")
    if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        hint = "; volumes are not images: slice them first" if len(shape) == 4 and dtype == np.uint8 else ""
        raise DataError(f"{array} is {dtype} {shape}; accepted: uint8 of shape (M, H, W) or (M, H, W, 3){hint}")
    return shape[0]


def _check_labels(array: str, shape: tuple[int, ...], dtype: np.dtype[Any], num_images: int) -> None:
    if dtype.hasobject:
        raise DataError(f"{array} holds Python objects, which are never loaded; save it as an integer array")
    if len(shape) == 2 and shape[1] > 1:
        raise DataError(
            f"{array} is {shape}: {shape[1]} labels an image. Only one grade an image can be learnt; "
            "choose one column and save it as (M,)"
        )
    if not np.issubdtype(dtype, np.integer) or len(shape) not in (1, 2):
        raise DataError(f"{array} is {dtype} {shape}; accepted: integers of shape (M,) or (M, 1)")
    if shape[0] != num_images:
        raise DataError(f"{array} has {shape[0]} rows, and there are {num_images} images; each needs one")


@hookimpl
def sslkit_datasets() -> list[type[Npz]]:
    """Return the data set ``npz``."""
    return [Npz]
