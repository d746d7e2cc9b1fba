"""Jobs that can be carried out where neither their run directory nor their images are."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from sslkit.checksums import SUMS, flaws, read_sums, seal, successor
from sslkit.errors import RunError, StorageError
from sslkit.files import make_folder, make_scratch
from sslkit.interfaces.executor import Job


@runtime_checkable
class MovableJob(Job, Protocol):
    """A job that says what it reads and writes; those of a run do.

    An executor whose machines share no disk with the one that runs it copies ``reads`` and ``images`` to a machine,
    carries out ``moved`` there, and hands the files of its folder to [receive_results][sslkit.receive_results].
    """

    @property
    def run(self) -> Path:
        """The run directory."""

    @property
    def cache(self) -> Path:
        """The folder of all caches of images."""

    @property
    def folder(self) -> Path:
        """Where its results go: a folder in the run directory."""

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files in the run directory that it reads."""

    @property
    def images(self) -> tuple[Path, ...]:
        """Folders below the cache that it reads, each of which its own checksums vouch for."""

    @property
    def device(self) -> str:
        """What it computes on: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``."""

    def moved(self, run: Path, cache: Path) -> Self:
        """Return the same job, of the same name and results, for another run directory and folder of caches."""

    def adopt(self, results: Path) -> None:
        """Take the files of a folder beside its own, and put them in their place: those that are sealed all or none."""


def receive_results(job: MovableJob, files: Mapping[str, npt.NDArray[np.uint8]]) -> None:
    """Put the results of a job that was carried out elsewhere in their place.

    Args:
        job: the job, as it was before it was moved.
        files: what it has left in its folder, by name: uint8 (B,). A job that was stopped has sealed nothing.

    Raises:
        RunError: if a file is not what its checksum says.
        StorageError: if the files cannot be written, or the run directory was taken away.
    """
    if not job.run.is_dir():  # nor is it made anew: it is nobody's
        raise StorageError(
            f"the run directory {job.run} was taken away while the run was under way; the same command begins again"
        )
    make_folder(job.folder.parent)
    scratch = make_scratch(job.folder)
    try:
        for name, content in files.items():
            with (scratch / Path(name).name).open("xb") as file:
                content.tofile(file)
        sealed = [name for name in read_sums(scratch) if name in files]
        if sealed and (found := flaws(scratch, sealed)):
            raise RunError(f"its results were damaged on their way here: {'; '.join(found)}")
        job.adopt(scratch)
    except OSError as error:
        raise StorageError.of(job.folder, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def add_to_folder(folder: Path, results: Path) -> None:
    """Move files into a folder that may hold others, and vouch for those that are vouched for where they come from."""
    make_folder(folder)
    sealed = read_sums(results).keys() & {path.name for path in results.iterdir()}
    for path in results.iterdir():
        if path.name != SUMS:
            path.rename(successor(folder / path.name) if path.name in sealed else folder / path.name)
    if sealed:
        seal(folder, sorted(sealed))
