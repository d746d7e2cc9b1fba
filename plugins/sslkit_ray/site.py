"""A folder of a node's own, which stands in for the run directory and the cache of images that it does not see."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from sslkit.checksums import flaws
from sslkit.errors import RunError
from sslkit.files import part_of
from sslkit_ray.parcels import Parcel, unpack
from sslkit_ray.processes import Process, end, is_there

_ABANDONED = 3600.0
"""Seconds after which a folder that no process uses is removed by another run: its driver was killed."""


class Site:
    """The folder of one run on one node.

    Args:
        options: ``scratch``, the folder that it is in, or None; ``run``, a name that no other run has.
        node: the node's id: several may be on one machine.
    """

    def __init__(self, options: Mapping[str, Any], node: str) -> None:
        uid = os.getuid() if hasattr(os, "getuid") else 0
        self.base = Path(options["scratch"] or tempfile.gettempdir()) / f"sslkit-ray-{uid}"
        self.folder = self.base / f"{options['run']}-{node[:16]}"

    @contextmanager
    def desk(self) -> Iterator[Desk]:
        """Give this process a place in the folder, until its job is over."""
        self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _lock(self.folder):
            desk = Desk(self)
            desk.folder.mkdir(parents=True)
        try:
            self._remove_abandoned()
            yield desk
        finally:
            shutil.rmtree(desk.folder, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        _lock_path(self.folder).unlink(missing_ok=True)

    def _remove_abandoned(self) -> None:
        for folder in self.base.iterdir():
            try:
                if folder.is_dir() and folder != self.folder and time.time() - folder.stat().st_mtime > _ABANDONED:
                    with _lock(folder, timeout=0):
                        if not any(is_there(int(path.name.partition("-")[0])) for path in folder.glob("desks/*-*")):
                            shutil.rmtree(folder, ignore_errors=True)
            except (Timeout, OSError):  # its own run, or another job, is at it
                continue


class Desk:
    """The place of one job in the folder of its run."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.folder = site.folder / "desks" / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._came: dict[Path, tuple[int, int]] = {}

    def receive(self, parcels: Sequence[Parcel]) -> Path:
        """Unpack files that the job reads into a run directory of its own, and return that."""
        run = self.folder / "run"
        run.mkdir()
        for parcel in parcels:
            path = unpack(parcel, run)
            self._came[path] = _mark(path)
        return run

    def images(self, parcels: Mapping[str, Sequence[Parcel]]) -> Path:
        """Unpack decoded images, unless a job before has, and return the folder of all caches.

        Args:
            parcels: the files of each folder, by its path in the folder of all caches.

        Raises:
            RunError: if one is not what its checksum says.
        """
        cache = self._site.folder / "cache"
        with _lock(cache):
            for name, files in parcels.items():
                if not (cache / name).exists():
                    self._unpack(cache / name, name, files)
        return cache

    def written(self, folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
        """Return the files that the job has left in a folder, by name."""
        paths = [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
        return {
            path.name: np.frombuffer(path.read_bytes(), np.uint8)
            for path in paths
            if self._came.get(path) != _mark(path)
        }

    def _unpack(self, target: Path, name: str, files: Sequence[Parcel]) -> None:
        scratch = part_of(self.folder / "images")
        for parcel in files:
            unpack(parcel, scratch)
        if found := flaws(scratch / name):
            raise RunError(f"the decoded images were damaged on their way to the node: {'; '.join(found)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).rename(target)


def tidy_node(options: Mapping[str, Any] | None, node: str, processes: Sequence[Process]) -> None:
    """Leave nothing of a run on this node: end processes of its jobs, and remove its folder where it had one."""
    end(processes)
    if options is not None:
        Site(options, node).remove()


def _mark(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _lock(folder: Path, timeout: float = -1) -> Any:
    return FileLock(_lock_path(folder), timeout=timeout)
