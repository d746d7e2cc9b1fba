"""The test images that a model grades worst."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sslkit.experiment.cell import CellJob
from sslkit.experiment.study import Study

_ARMS = ("pretrained", "imagenet", "frozen", "scratch", "knn")
"""Whose mistakes are shown: the first of them that the run has."""


@dataclass(frozen=True)
class Graded:
    """A test image and its grade.

    Attributes:
        image: its id.
        fold: that tests it.
        target: its true grade.
        predicted: the grade that was predicted.
        probability: of the predicted grade, 0..1.
        of_truth: probability of the true grade, 0..1.
    """

    image: str
    fold: int
    target: int
    predicted: int
    probability: float
    of_truth: float


@dataclass
class Mistakes:
    """The worst mistakes of one arm, at the largest share of the labels, in the first repetition.

    Attributes:
        cells: those whose mistakes they are, one a fold.
        compared: the cells that were trained from scratch on the same images; empty where they are the arm's own.
        tested: images that the cells tested.
        wrong: of them, those that were graded wrongly.
        worst: the mistakes that are furthest off, the worst first.
        from_scratch: what training from scratch graded the same images, by id.
    """

    cells: list[CellJob]
    compared: list[CellJob]
    tested: int = 0
    wrong: int = 0
    worst: list[Graded] = field(default_factory=list)
    from_scratch: dict[str, int] = field(default_factory=dict)


def cells_shown(study: Study, cells: Sequence[CellJob]) -> tuple[list[CellJob], list[CellJob]]:
    """Return the cells whose mistakes are shown, one a fold, and those from scratch on the same images.

    Of several pretext tasks it is the first in the configuration: none is chosen by its score.
    """
    arms, share = study.config.evaluation.arms, max(study.config.evaluation.label_fractions)
    largest = [cell for cell in cells if (cell.fraction, cell.repetition) == (share, 0) and cell.done]
    arm = next(arm for arm in _ARMS if arm in arms)
    own = [cell for cell in largest if cell.arm == arm and cell.pretext in ("", study.tasks[0].name)]
    scratch = [cell for cell in largest if cell.arm == "scratch"] if arm != "scratch" else []
    return own, scratch


def find_mistakes(cells: list[CellJob], compared: list[CellJob], count: int) -> Mistakes:
    """Return the worst mistakes of cells, read row by row: memory does not grow with the images.

    The worst is the furthest from the true grade; of several as far, that which was given the highest probability; then
    the first by id.
    """
    found = Mistakes(cells, compared)

    def wrong() -> Iterator[Graded]:
        for graded in _read(cells):
            found.tested += 1
            if graded.predicted != graded.target:
                found.wrong += 1
                yield graded

    found.worst = heapq.nsmallest(max(1, count), wrong(), key=_how_bad)[:count]  # of none, none would be read
    wanted = {graded.image for graded in found.worst}
    found.from_scratch = {graded.image: graded.predicted for graded in _read(compared) if graded.image in wanted}
    return found


def _how_bad(graded: Graded) -> tuple[int, float, str]:
    return -abs(graded.target - graded.predicted), -graded.probability, graded.image


def _read(cells: Iterable[CellJob]) -> Iterator[Graded]:
    for cell in cells:
        yield from read_graded(cell.folder / "predictions.csv", cell.fold)


def read_graded(path: Path, fold: int) -> Iterator[Graded]:
    """Yield the rows of a predictions.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            target, predicted = int(row["target"]), int(row["predicted"])
            probability, of_truth = float(row[f"p_{predicted}"]), float(row[f"p_{target}"])
            yield Graded(row["image"], fold, target, predicted, probability, of_truth)
