"""Where everything of a run stands on disk, and whether a run may go on there."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslkit.checksums import flaws, read_sums
from sslkit.config import to_toml
from sslkit.config.loading import read_toml
from sslkit.errors import RunDirectoryError, StorageError
from sslkit.files import absolute
from sslkit.printable import abbreviate, shown

CELL_ID = re.compile(r"[0-9a-f]{16}")
"""What a cell is called: the only names of folders that are taken from a table."""

EXTENSIBLE = (
    *("name", "observers", "card", "report", "compute", "executor", "images.cache", "images.on_unreadable"),
    *("evaluation.largest_group", "evaluation.label_fractions", "evaluation.arms", "evaluation.repetitions"),
)
"""Keys that may differ from those of a run that is gone on with: they add cells, or change no result."""

LOCK_FILES = (".lock", ".locked-by")
"""What a run that has not got far may have left in its directory: see [sslkit.experiment.run_lock][]."""

SETTLED = ("config.toml", "splits.json", "audit.json", "run.json", "results.csv", "summary.csv")
"""The files of the directory itself that its checksums vouch for."""

PINNED = ("compute.device", "compute.precision", "compute.compile")
"""Keys of an extensible table that change results all the same."""


@dataclass(frozen=True)
class RunDirectory:
    """The folder of a run, and the names of its files.

    Attributes:
        root: the folder.
        lock: inode of the file that keeps others out, while it does; see [sslkit.experiment.run_lock][].
    """

    root: Path
    lock: int | None = None

    @property
    def config(self) -> Path:
        """The whole configuration, with absolute paths."""
        return self.root / "config.toml"

    @property
    def run(self) -> Path:
        """Versions, plugins, hardware, data and times."""
        return self.root / "run.json"

    @property
    def splits(self) -> Path:
        """Folds and orders of labels."""
        return self.root / "splits.json"

    @property
    def audit(self) -> Path:
        """What was found wrong, doubtful or telling in the data."""
        return self.root / "audit.json"

    @property
    def results(self) -> Path:
        """One row a cell."""
        return self.root / "results.csv"

    @property
    def summary(self) -> Path:
        """One row a pretext task, arm and share of labels."""
        return self.root / "summary.csv"

    @property
    def pictures(self) -> Path:
        """The folder of images for the report."""
        return self.root / "pictures"

    def require(self) -> None:
        """Refuse to write into a directory that was taken away or replaced: it is another run's, or nobody's.

        Raises:
            StorageError: if it is not there, or not that which was locked.
        """
        there = self.root.is_dir() if self.lock is None else identity(self.root / LOCK_FILES[0]) == self.lock
        if not there:
            raise StorageError(
                f"the run directory {self.root} was taken away or replaced while the run was under way; "
                "the same command begins again"
            )

    def pretraining(self, task: str, fold: int | None) -> Path:
        """The folder of one pretraining."""
        return self.root / "pretraining" / task / ("all" if fold is None else str(fold))

    def cell(self, cell_id: str) -> Path:
        """The folder of one cell.

        Raises:
            RunDirectoryError: if the id is none, and might lead out of the directory.
        """
        if not CELL_ID.fullmatch(cell_id):
            raise RunDirectoryError(
                f"{cell_id!r} in {self.results} is not a cell, which is called by 16 hex digits; was the file edited?"
            )
        return self.root / "cells" / cell_id


def identity(path: Path) -> int | None:
    """Return the inode of a file, which no other beside it has while this one is open; None where it is not there.

    The number of the device is left out: every machine that mounts a network disk gives it one of its own.
    """
    try:
        return path.stat().st_ino
    except OSError:
        return None


def locate(output: Path) -> RunDirectory:
    """Return the run directory that a path leads to, whether or not it exists.

    Raises:
        RunDirectoryError: if no folder can be there: names too long, or links in a circle.
    """
    try:
        return RunDirectory(absolute(output))
    except ValueError as error:
        reason = abbreviate(str(error), 300)
        raise RunDirectoryError(f"no run can be at {shown(str(output))}: {reason}; give another --output") from None


def check_directory(directory: RunDirectory, tables: Mapping[str, Any]) -> None:
    """Refuse a directory that holds something other than an earlier part of this very run.

    Args:
        directory: where the run is to go on.
        tables: its whole configuration as plain values.

    Raises:
        RunDirectoryError: naming the keys that differ.
    """
    if directory.root.exists() and not directory.root.is_dir():
        raise RunDirectoryError(f"{directory.root} is a file; give another --output")
    existing = next(folder for folder in (directory.root, *directory.root.parents) if folder.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        raise RunDirectoryError(f"{directory.root} cannot be written to; give another --output")
    if SETTLED[0] in read_sums(directory.root) and flaws(directory.root, SETTLED[:1]):
        _refuse_unless_the_same(directory, tables)
        return
    if not directory.config.is_file():
        if directory.root.exists() and any(path.name not in LOCK_FILES for path in directory.root.iterdir()):
            raise RunDirectoryError(
                f"{directory.root} is not empty and holds no run (no config.toml); give another --output"
            )
        return
    before, now = (_flatten(json.loads(json.dumps(values))) for values in (read_toml(directory.config), tables))
    differing = sorted(
        key for key in before.keys() | now.keys() if before.get(key) != now.get(key) and not _may_differ(key)
    )
    if differing:
        told = [(key, abbreviate(repr(before.get(key)), 300), abbreviate(repr(now.get(key)), 300)) for key in differing]
        lines = "\n".join(f"  {key}: {there} there, {here} here" for key, there, here in told)
        raise RunDirectoryError(
            f"{directory.root} belongs to another configuration; give another --output, or go back to:\n{lines}"
        )


def _refuse_unless_the_same(directory: RunDirectory, tables: Mapping[str, Any]) -> None:
    """Refuse to go on after a config.toml that was damaged, unless the configuration is the one that it held."""
    text = to_toml(tables)
    if hashlib.sha256(text.encode()).hexdigest() != read_sums(directory.root)[SETTLED[0]]:
        raise RunDirectoryError(
            f"{directory.config} is missing, or was changed after it was written. Give exactly the configuration that "
            "the last call was given, which puts it back; or give another --output"
        )


def _may_differ(key: str) -> bool:
    return key not in PINNED and any(key == known or key.startswith(f"{known}.") for known in EXTENSIBLE)


def _flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
