"""TensorBoard: curves of pretrainings and scores by labels, as event files in the run directory.

They stand in ``tensorboard/`` there and are written anew whenever the command is called: first what earlier calls have
left, then what happens. So nothing is in them twice, and nothing is missing. After each event the file is flushed.

Scores come before anything is fitted across folds, and are preliminary until the run has ended.

| tag | step | value |
|---|---|---|
| ``pretraining/rotation/0/loss`` | epoch | a metric of a pretraining |
| ``preliminary/rotation-pretrained/qwk/fold-0-repetition-0`` | labels | a score as it came |
| ``cells/rotation-pretrained/qwk/fold-0-repetition-0`` | labels | the same as in results.csv |
| ``qwk_mean/rotation-pretrained`` | labels, mean over folds | a column of summary.csv |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslkit import hookimpl
from sslkit.errors import StorageError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = Mapping[str, Any]

_PLACE = ("pretext", "arm", "fraction", "fold", "repetition", "labels", "test_images", "cell", "n", "undefined")
"""Columns of results.csv and summary.csv that are no scores."""


class Board:
    """The event file of one call of a run.

    Args:
        run_directory: where the run is; earlier event files in its folder ``tensorboard`` are removed.
        config: the run's configuration.

    Raises:
        StorageError: if that folder is a link, since what is elsewhere may be of others.
    """

    def __init__(self, run_directory: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run_directory / "tensorboard"
        if folder.is_symlink():
            raise StorageError(f"{folder} is a link, and event files are removed there; put a folder in its place")
        for earlier in folder.glob("events.out.tfevents.*"):
            earlier.unlink()
        self.writer: SummaryWriter = SummaryWriter(str(folder))
        self._written: dict[tuple[str, int], float] = {}
        self.writer.add_custom_scalars(_layout(config))
        toml = (run_directory / "config.toml").read_text(encoding="utf-8")
        self.writer.add_text("configuration", f"```\n{toml}\n```")

    def add_epoch(self, job: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Write an epoch's metrics."""
        for name, value in metrics.items():
            self._add(f"{job}/{name}", value, epoch)

    def add_cell(self, group: str, row: Row) -> None:
        """Write a cell's scores."""
        for name, value in _scores(row).items():
            tag = f"{group}/{_line(row)}/{name}/fold-{row['fold']}-repetition-{row['repetition']}"
            self._add(tag, value, row["labels"])

    def add_end(self, summary: Iterable[Row], results: Iterable[Row], about: Mapping[str, Any]) -> None:
        """Write what the run has come to."""
        for row in results:
            self.add_cell("cells", row)
        for row in summary:
            for name, value in _scores(row).items():
                self._add(f"{name}/{_line(row)}", value, round(row["labels"]))
        said = [*about["notices"], *(conclusion["sentence"] for conclusion in about["conclusions"])]
        failed = [f"failed: {failure['job']}" for failure in about["failed_jobs"]]
        self.writer.add_text("conclusions", "\n".join(f"- {sentence}" for sentence in (*said, *failed)))

    def _add(self, tag: str, value: float, step: int) -> None:
        """Write a point, unless it is there: a pretraining goes on at a checkpoint, and tells of some epochs again."""
        if self._written.get((tag, step)) != value:
            self._written[tag, step] = value
            self.writer.add_scalar(_clean(tag), value, step)  # in float32: TensorBoard's server shows no doubles


_board: Board | None = None


def _write(call: Callable[[Board], None]) -> None:
    """Write to the board and flush it; a board that fails, on a full disk say, is given up for the rest of the call."""
    global _board
    board, _board = _board, None
    if board is not None:
        call(board)
        board.writer.flush()
        _board = board


def _close() -> None:
    global _board
    board, _board = _board, None
    if board is not None:
        board.writer.close()


@hookimpl
def sslkit_on_request() -> str | None:
    """Say what to install where TensorBoard is missing."""
    found = find_spec("tensorboard")  # a mere folder of this name has no origin
    return None if found and found.origin else "pip install 'sslkit[tensorboard]'"


@hookimpl
def sslkit_run_started(
    run_directory: Path, config: Mapping[str, Any], epochs: Iterable[Row], results: Iterable[Row]
) -> None:
    """Begin the event file with what earlier calls have left."""
    global _board
    _close()  # a run in this process that was interrupted has left it open
    _board = Board(run_directory, config)

    def begin(board: Board) -> None:
        for epoch in epochs:
            board.add_epoch(**epoch)
        for row in results:
            board.add_cell("preliminary", row)

    _write(begin)


@hookimpl
def sslkit_epoch_finished(job: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """Write the epoch's metrics."""
    _write(lambda board: board.add_epoch(job, epoch, metrics))


@hookimpl
def sslkit_cell_finished(result: Row) -> None:
    """Write the cell's scores."""
    _write(lambda board: board.add_cell("preliminary", result))


@hookimpl
def sslkit_run_finished(summary: Iterable[Row], results: Iterable[Row], about: Mapping[str, Any]) -> None:
    """Write the final scores, and close the file."""
    _write(lambda board: board.add_end(summary, results, about))
    _close()


def _layout(config: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """Return what the tab of custom scalars draws: arms in one chart, folds in one chart."""
    losses = {
        table["name"]: ["Multiline", [f"^pretraining/{re.escape(table['name'])}/[^/]+/loss$"]]
        for table in config["pretext"]
    }
    return {
        "QWK by labelled images": {
            "mean": ["Multiline", ["^qwk_mean/"]],
            "difference to scratch": ["Multiline", ["^delta/"]],
        },
        "Loss of the pretext task by epoch": losses,
    }


def _line(row: Row) -> str:
    """Return which curve a row belongs to: its pretext task, if it has one, and its arm."""
    return "-".join(filter(None, (row["pretext"], row["arm"])))


def _scores(row: Row) -> dict[str, float]:
    """Return the scores of a row that are defined."""
    return {name: value for name, value in row.items() if name not in _PLACE and isinstance(value, int | float)}


def _clean(tag: str) -> str:
    """Return a tag of those characters alone that TensorBoard takes."""
    return re.sub(r"[^\w./-]", "_", tag, flags=re.ASCII)
