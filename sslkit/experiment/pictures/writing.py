"""Writes the pictures of a run into its directory, or takes them away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import PIL
import torch

from sslkit.checksums import SUMS, file_digest, flaws, seal
from sslkit.errors import SslkitError
from sslkit.experiment.pictures.encoding import Pixels, encode_all
from sslkit.experiment.pictures.mistakes import Mistakes, cells_shown, find_mistakes
from sslkit.experiment.pictures.sample import SampleImage, draw_sample
from sslkit.experiment.pictures.views import SeenViews, seen_views
from sslkit.experiment.plan import Jobs
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.recipe import digest
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import Study
from sslkit.files import flush_folder, make_scratch, write_atomically, write_json

INDEX = "pictures.json"
"""The file that says what the pictures show."""

_VERSION = 1
"""Raised whenever the same run would give other pictures."""

_MOST_BYTES = {"view": 420_000, "mistake": 180_000}
"""What pictures of one kind come to together: a page with all figures of a tournament stays below 3 MB."""


def make_pictures(study: Study, directory: RunDirectory, jobs: Jobs, warn: Callable[[str], None]) -> None:
    """Write the run's pictures, unless they stand there already, or are not wanted: then none is left.

    They are no result: whatever goes wrong with them is told by a warning, and the run goes on without them.

    Args:
        study: the run.
        directory: where it stands; locked.
        jobs: what was to be done; those cells count that are done.
        warn: told what went wrong.
    """
    try:
        _make(study, directory.pictures, jobs, warn)
    except Exception as error:  # a picture must not cost the results of days
        if study.config.report.pictures:
            warn(f"the pictures for the report could not be made: {_in_words(error)}; no result depends on them")
        else:  # photographs that are not wanted are still there
            warn(f"earlier pictures could not be removed: {_in_words(error)}; remove {directory.pictures} yourself")


def _make(study: Study, folder: Path, jobs: Jobs, warn: Callable[[str], None]) -> None:
    settings = study.config.report
    if not settings.pictures:
        _remove(folder)
        return
    pretrainings = _first_of_each(jobs.pretrainings)
    cells, compared = cells_shown(study, jobs.cells) if settings.mistakes else ([], [])
    key = digest(
        {
            "versions": [_VERSION, PIL.__version__],
            "report": settings.model_dump(mode="json"),
            "views": [job.identity for job in pretrainings] if settings.sample_images else [],
            "mistakes": [[cell.cell_id, file_digest(cell.folder / "predictions.csv")] for cell in (*cells, *compared)],
        }
    )
    if (folder / SUMS).is_file():
        found = flaws(folder)
        if not found and _key_of(folder) == key:
            return
        for flaw in found:
            warn(f"{folder}: {flaw}; it is made anew")
    _remove(folder)
    sheet = _Sheet(study, jobs)
    complete = sheet.add_views(pretrainings, settings.sample_images, warn)
    if cells:
        sheet.add_mistakes(find_mistakes(cells, compared, settings.mistakes))
    sheet.write(folder, key if complete else None)


class _Sheet:
    """Collects pictures, and what is said of them."""

    def __init__(self, study: Study, jobs: Jobs) -> None:
        self._recipe = jobs.cells[0].recipe
        self._images = self._recipe.cache.open()
        self._pixels: dict[str, list[Pixels]] = {kind: [] for kind in _MOST_BYTES}
        self._index: dict[str, Any] = {"images": [], "tasks": [], "mistakes": None}
        self._num_tasks = len(study.tasks)

    def add_views(self, pretrainings: Sequence[PretrainingJob], count: int, warn: Callable[[str], None]) -> bool:
        """Add what pretext tasks see; return whether that could be done for all."""
        if not (pretrainings and count):
            return True
        sample = draw_sample(pretrainings[0].views, count)  # the same for all: no seed depends on the task
        self._index["images"] = [self._describe_image(image) for image in sample]
        complete = True
        for job in pretrainings:
            try:
                with _one_thread():
                    seen = seen_views(job.views, sample)
            except SslkitError as error:
                warn(f"what the pretext task {job.task.name!r} sees cannot be shown: {error}")
                complete = False
                continue
            self._index["tasks"].append(self._describe_views(job, seen))
        return complete

    def add_mistakes(self, found: Mistakes) -> None:
        """Add the worst mistakes of an arm."""
        wanted = {graded.image for graded in found.worst}
        row_of = {name: row for row, name in enumerate(self._recipe.ids) if name in wanted}
        self._index["mistakes"] = {
            "pretext": found.cells[0].pretext,
            "arm": found.cells[0].arm,
            "fraction": found.cells[0].fraction,
            "folds": len(found.cells),
            "tasks": self._num_tasks,
            "tested": found.tested,
            "wrong": found.wrong,
            "images": [
                {
                    **asdict(graded),
                    "scratch": found.from_scratch.get(graded.image),
                    "picture": self._add("mistake", self._images[row_of[graded.image]]),
                }
                for graded in found.worst
            ],
        }

    def write(self, folder: Path, key: str | None) -> None:
        """Write everything into a folder that is not there, in one move."""
        scratch = make_scratch(folder)
        try:
            files = {kind: encode_all(pixels, _MOST_BYTES[kind]) for kind, pixels in self._pixels.items()}
            names = [INDEX]
            for picture in _pictures_in(self._index):
                kind, number = picture.pop("kind"), picture.pop("number")
                file = files[kind][number]
                picture |= {"file": f"{kind}-{number + 1}{file.suffix}", "width": file.width, "height": file.height}
                write_atomically(scratch / picture["file"], lambda to, file=file: to.write(file.content))  # type: ignore[misc]
                names.append(picture["file"])
            write_json(scratch / INDEX, {"key": key, **self._index})
            seal(scratch, names)
            scratch.rename(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        flush_folder(folder.parent)

    def _add(self, kind: str, pixels: Pixels) -> dict[str, Any]:
        self._pixels[kind].append(pixels)
        return {"kind": kind, "number": len(self._pixels[kind]) - 1}

    def _describe_image(self, image: SampleImage) -> dict[str, Any]:
        grade = int(self._recipe.grades[image.row])
        return {
            "image": self._recipe.ids[image.row],
            "grade": grade if grade >= 0 else None,
            "picture": self._add("view", self._images[image.row]),
        }

    def _describe_views(self, job: PretrainingJob, seen: SeenViews) -> dict[str, Any]:
        return {
            "pretext": job.task.name,
            "fold": job.fold,
            "unchanged": list(seen.unchanged),
            "unseen": list(seen.unseen),
            "views": [
                {
                    "name": strip.name,
                    "number": strip.number,
                    "parts": strip.parts,
                    "labels": list(strip.labels),
                    "pictures": [self._add("view", pixels) for pixels in strip.pictures],
                }
                for strip in seen.strips
            ],
        }


def _first_of_each(pretrainings: Sequence[PretrainingJob]) -> list[PretrainingJob]:
    """Return the first pretraining of each task."""
    first: dict[str, PretrainingJob] = {}
    for job in pretrainings:
        first.setdefault(job.task.name, job)
    return list(first.values())


def _pictures_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every picture among plain values."""
    if isinstance(value, dict):
        if "kind" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _pictures_in(item)


def _key_of(folder: Path) -> str | None:
    try:
        key = json.loads((folder / INDEX).read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, RecursionError, TypeError, KeyError):  # sealed by somebody else
        return None
    return key if isinstance(key, str) else None


def _remove(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as the jobs do: sums over several threads may differ in their last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, SslkitError) else f"{type(error).__name__}: {error}"
