"""A data set that keeps count of what is read of it, importable by worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sslkit import Dataset, PluginConfig, Record
from sslkit.errors import DataError


class CountedImages(Dataset[PluginConfig]):
    """The files of a folder; each read of one leaves a line in ``log``.

    A file that holds ``refuse`` is refused by the data set itself, one that holds ``kill`` ends the process that reads
    it, and one that holds ``pixels`` is given as an array. While ``busy`` names an image, it cannot be read.
    """

    name = "counted"

    def __init__(self, folder: Path, log: Path) -> None:
        super().__init__(PluginConfig())
        self.folder = folder
        self.log = log
        self.busy = log.with_name("busy")

    def records(self) -> Sequence[Record]:
        return [Record(path.name, path) for path in sorted(self.folder.iterdir())]

    def fingerprint(self, record: Record) -> str:
        assert record.path is not None
        content = record.path.read_bytes()
        if content == b"refuse":
            raise DataError(f"{record.id} is refused")
        return content.hex()

    def read(self, record: Record) -> bytes | npt.NDArray[np.uint8]:
        assert record.path is not None
        with self.log.open("a") as log:
            log.write(f"{record.id}\n")
        if self.busy.exists() and self.busy.read_text() == record.id:
            raise OSError("the disk is busy")
        content = record.path.read_bytes()
        if content == b"refuse":
            raise DataError(f"{record.id} is refused")
        if content == b"kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return np.arange(300, dtype=np.uint8).reshape(10, 10, 3) if content == b"pixels" else content

    def reads(self) -> list[str]:
        """Return the ids that were read, sorted."""
        return sorted(self.log.read_text().split()) if self.log.exists() else []
