"""Reads the runs that are to be compared, and gives each a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sslkit.errors import UsageError
from sslkit.printable import printable, shown
from sslkit.report.sections.opening import title
from sslkit.report.tables import Line, Run, read_run


@dataclass(frozen=True)
class NamedRun:
    """A run, and what it is called beside the others."""

    name: str
    run: Run

    def label(self, line: Line) -> str:
        """Return what one of its lines is called beside the other runs'."""
        return f"{self.name}: {line.label}"

    def led_by(self, metric: str) -> NamedRun:
        """Return the run with another metric leading."""
        return NamedRun(self.name, replace(self.run, info={**self.run.info, "primary_metric": metric}))


def read_runs(directories: Sequence[Path]) -> list[NamedRun]:
    """Read runs and name them: by their own names, with the folder where two have the same.

    Raises:
        sslkit.errors.UsageError: if there are fewer than two, one is given twice, or their classes differ.
        sslkit.errors.RunDirectoryError: if one is missing or malformed.
    """
    if len(directories) < 2:
        raise UsageError(f"{len(directories)} run given; a comparison needs two or more")
    places = [directory.resolve() for directory in directories]
    for place, times in Counter(places).items():
        if times > 1:
            raise UsageError(f"{place} is given {times} times; a run can be compared with other runs only")
    runs = [read_run(directory) for directory in directories]
    for run in runs[1:]:
        if run.class_names != runs[0].class_names:
            raise UsageError(
                f"{runs[0].directory} and {run.directory} have different classes: {_classes(runs[0])}, and "
                f"{_classes(run)}. Scores of different questions cannot be compared; give runs on the same classes"
            )
    return [NamedRun(name, run) for name, run in zip(_names(runs, places), runs, strict=True)]


def _names(runs: Sequence[Run], places: Sequence[Path]) -> list[str]:
    titles = [title(run) for run in runs]
    often = {name for name, times in Counter(titles).items() if times > 1}
    return [
        f"{name} ({_folder(place, places)})" if name in often else name
        for name, place in zip(titles, places, strict=True)
    ]


def _folder(place: Path, places: Sequence[Path]) -> str:
    """Return the shortest end of a path that no other one has."""
    parts = place.parts
    for length in range(1, len(parts) + 1):
        end = parts[-length:]
        if sum(other.parts[-length:] == end for other in places) == 1:
            break
    return printable(Path(*end).as_posix())


def _classes(run: Run) -> str:
    return ", ".join(shown(name) for name in run.class_names)
