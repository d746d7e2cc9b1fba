"""Reads a finished run from its directory, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sslkit.checksums import SUMS, require
from sslkit.errors import RunDirectoryError
from sslkit.experiment.names import name_cell
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.run_result import RunResult
from sslkit.experiment.sentences import sentences
from sslkit.experiment.table import Table
from sslkit.report.rows import Row, read_rows, require_file
from sslkit.report.shapes import RunFile, read_shape

_TEXTS = ("pretext", "arm", "verdict", "cell")
_COUNTS = ("fold", "repetition", "test_images", "n", "undefined")
_PLACE = ("pretext", "arm", "fraction")


def open_run(directory: str | Path) -> RunResult:
    """Return what a finished run has come to, as [run][sslkit.run] returned it; nothing is computed.

    Args:
        directory: the run directory: what ``--output`` was.

    Raises:
        sslkit.errors.RunDirectoryError: if there is no run, it has not finished, or its tables were changed since.
    """
    root = Path(directory)
    if not root.is_dir():
        raise RunDirectoryError(
            f"{root} is not a run directory: there is no such folder. Give the folder that 'sslkit run' wrote to "
            "(its --output)."
        )
    files = RunDirectory(root)
    require_file(files.run)
    if (root / SUMS).exists():
        require(root)
    about = read_shape(files.run, RunFile)
    results = _table(files.results, (*_PLACE, "fold", "repetition", "labels", "cell"), {"labels": Row.integer})
    summary = _table(files.summary, (*_PLACE, "n", "labels"), {})
    failures = [(_name(failed), str(failed["reason"])) for failed in about.get("failed_jobs", [])]
    return RunResult(
        files, summary, sentences(about.get("conclusions", [])), about.get("notices", []), failures, results
    )


def _table(path: Path, required: tuple[str, ...], own: Mapping[str, Callable[[Row, str], Any]]) -> Table:
    return Table({column: _value(row, column, own) for column in row.values} for row in read_rows(path, required))


def _value(row: Row, column: str, own: Mapping[str, Callable[[Row, str], Any]]) -> Any:
    if column in own:
        return own[column](row, column)
    if column in _COUNTS:
        return row.integer(column)
    if column in _TEXTS:
        text = row.values[column]
        return text if text or column == "pretext" else None
    return row.optional(column)


def _name(failed: Mapping[str, Any]) -> str:
    """Return a failed job in words, as the run told it."""
    place = {"fold": 0, "repetition": 0, **failed}
    return f"{name_cell(place)} ({failed['job']})" if "arm" in failed else str(failed["job"])
