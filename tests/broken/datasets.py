"""Data sets that break one promise each."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from sslkit import ConfigPath, Dataset, PluginConfig, Record, read_file
from sslkit.errors import DataError
from sslkit.testing.samples import sample_pixels


def write_files(folder: Path) -> dict[str, str]:
    """Write a few images of real size, and an archive with the pixels of all of them."""
    (folder / "images").mkdir()
    pixels = sample_pixels(8, 256)
    for number, image in enumerate([pixels[0, :200], *pixels[1:]]):
        Image.fromarray(image).save(folder / "images" / f"{number}.png", compress_level=1)
    np.save(folder / "archive.npy", pixels)
    return {"folder": str(folder / "images")}


class SoundConfig(PluginConfig):
    """Options of a sound data set."""

    folder: ConfigPath = Field(description="The folder of the images.")


class Sound(Dataset[Any]):
    """The images of a folder."""

    name = "sound"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = SoundConfig

    def records(self) -> Sequence[Record]:
        if not self.config.folder.is_dir():
            raise DataError(f"the folder {self.config.folder} is missing")
        return [self.record(number, path) for number, path in enumerate(sorted(self.config.folder.glob("*.png")))]

    def record(self, number: int, path: Path) -> Record:
        return Record(path.stem, path, label=number % 2, group=f"patient {number // 2}", source=path.name)

    def unlisted(self, records: Sequence[Record]) -> Sequence[str]:
        return sorted(path.name for path in self.config.folder.iterdir() if path.stem not in {r.id for r in records})

    def fingerprint(self, record: Record) -> str:
        return hashlib.sha256(read_file(record.path)).hexdigest()


SOUND = Sound


class LabelsOfNumpy(Sound):
    """Its labels come from an array as they are."""

    def record(self, number: int, path: Path) -> Record:
        return replace(super().record(number, path), label=np.arange(9)[number])


class SameName(Sound):
    """Its ids leave out what tells two images apart."""

    def record(self, number: int, path: Path) -> Record:
        return replace(super().record(number, path), id="image")


class Reordering(Sound):
    """Turns its list around each time."""

    turned = False

    def records(self) -> Sequence[Record]:
        self.turned = not self.turned
        return sorted(super().records(), key=lambda record: record.id, reverse=self.turned)


class AsksEachFile(Sound):
    """Finds out whether each file is an image while it lists them."""

    def records(self) -> Sequence[Record]:
        return [record for record in super().records() if record.path.read_bytes().startswith(b"\x89PNG")]


class LoadsItsArchive(Sound):
    """Loads the pixels of all images to label the bright ones."""

    def records(self) -> Sequence[Record]:
        if not self.config.folder.is_dir():
            return super().records()
        bright = np.load(self.config.folder.parent / "archive.npy").mean((1, 2, 3)) > 128
        return [replace(record, label=int(label)) for record, label in zip(super().records(), bright, strict=True)]


class OpensUnlisted(Sound):
    """Compares what is in the files to find out which are not listed."""

    def unlisted(self, records: Sequence[Record]) -> Sequence[str]:
        known = {self.fingerprint(record) for record in records}
        found = {path.name: hashlib.sha256(read_file(path)).hexdigest() for path in self.config.folder.iterdir()}
        return [name for name, fingerprint in found.items() if fingerprint not in known]


class PlainPathConfig(PluginConfig):
    """Options whose path is relative to wherever sslkit is started."""

    folder: Path = Field(description="The folder of the images.")


class PlainPath(Sound):
    """Takes its path as it is written."""

    Config: ClassVar[type[PluginConfig]] = PlainPathConfig


class ForgetsToLook(Sound):
    """Lets whatever is missing be told by whoever stumbles over it."""

    def records(self) -> Sequence[Record]:
        names = sorted(os.listdir(self.config.folder))
        return [self.record(number, self.config.folder / name) for number, name in enumerate(names)]


class Normalizing(Sound):
    """Returns pixels of 0 to 1."""

    def read(self, record: Record) -> Any:
        return decode(record) / np.float32(255)


class ShrinkingCache(Sound):
    """Keeps a thumbnail of what is read often."""

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.times = Counter[str]()

    def read(self, record: Record) -> Any:
        self.times[record.id] += 1
        return decode(record)[::8, ::8] if self.times[record.id] > 2 else super().read(record)


class KeepsWhatItGives(Sound):
    """Gives away the array that it keeps for the next time."""

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.kept = dict[Path, np.ndarray]()

    def read(self, record: Record) -> Any:
        if record.path not in self.kept:
            self.kept[record.path] = decode(record)
        return self.kept[record.path]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"kept": {}}


class NumbersItsAnswers(Sound):
    """Puts into a fingerprint how often it was asked for."""

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.times = Counter[str]()

    def fingerprint(self, record: Record) -> str:
        self.times[record.id] += 1
        return f"{super().fingerprint(record)}-{self.times[record.id]}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"times": Counter()}


class DigestsTheHeader(Sound):
    """Has one fingerprint for all images of one size, which all but the first are."""

    def fingerprint(self, record: Record) -> str:
        with Image.open(record.path) as image:
            return f"{image.format} {image.mode} {image.size}"


class DigestsThePath(Sound):
    """Takes a file to be the same as long as its name is."""

    def fingerprint(self, record: Record) -> str:
        return hashlib.sha256(str(record.path).encode()).hexdigest()


class BlackWhereMissing(Sound):
    """Has a black image for a file that cannot be read."""

    def read(self, record: Record) -> Any:
        return super().read(record) if record.path.exists() else np.zeros((256, 256, 3), np.uint8)


class ReadsByItsState(Sound):
    """Keeps what belongs to one call where every thread sees it."""

    def read(self, record: Record) -> bytes:
        self.path = record.path
        time.sleep(0.01)
        return self.path.read_bytes()


class CarriesPixels(Sound):
    """Keeps all that it has read, and takes it along to every process."""

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.kept = dict[Path, bytes]()

    def read(self, record: Record) -> bytes:
        return self.kept.setdefault(record.path, super().read(record))


class OrderOfASet(Sound):
    """Lists images in the order of their hashes."""

    def records(self) -> Sequence[Record]:
        return [record for _, record in sorted((hash(record.id), record) for record in super().records())]


class WritesAnIndex(Sound):
    """Leaves the list of its images beside them."""

    def records(self) -> Sequence[Record]:
        records = super().records()
        (self.config.folder / "index.txt").write_text("\n".join(record.id for record in records))
        return records

    def unlisted(self, records: Sequence[Record]) -> Sequence[str]:
        return [name for name in super().unlisted(records) if name != "index.txt"]


def decode(record: Record) -> np.ndarray:
    with Image.open(record.path) as image:
        return np.array(image)


BROKEN: dict[str, type[Dataset[Any]]] = {
    "check_records": LabelsOfNumpy,
    "check_ids": SameName,
    "check_records_are_stable": Reordering,
    "check_listing_opens_no_image": AsksEachFile,
    "check_listing_holds_no_pixels": LoadsItsArchive,
    "check_unlisted": OpensUnlisted,
    "check_paths_are_resolved": PlainPath,
    "check_missing_source": ForgetsToLook,
    "check_images_can_be_decoded": Normalizing,
    "check_reading_is_stable": ShrinkingCache,
    "check_what_is_read_may_be_changed": KeepsWhatItGives,
    "check_fingerprints_are_stable": NumbersItsAnswers,
    "check_fingerprints_tell_images_apart": DigestsTheHeader,
    "check_fingerprints_follow_content": DigestsThePath,
    "check_missing_file": BlackWhereMissing,
    "check_threads_may_share_it": ReadsByItsState,
    "check_pickles": CarriesPixels,
    "check_images_are_the_same_elsewhere": OrderOfASet,
    "check_nothing_is_written": WritesAnIndex,
}
OPTIONS = write_files
