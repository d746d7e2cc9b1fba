"""What a report computes from the rows of a run: paired differences, spreads and mean curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sslkit.report.tables import Cell, Line, Run

SCRATCH = Line("", "scratch")
"""The line that the others are compared with."""

LEAST_FOLDS = 3
"""Folds that an interval of a mean score is drawn from, at least."""


@dataclass(frozen=True)
class Difference:
    """A paired difference: same fraction, fold and repetition.

    Attributes:
        by_fold: the difference in each fold that has a pair, averaged over its repetitions.
        unpaired: cells of the compared line whose score, or whose partner's, is missing or undefined.
    """

    by_fold: Mapping[int, float]
    unpaired: int

    @property
    def mean(self) -> float | None:
        """The mean over folds; None where there is no pair."""
        return fmean(self.by_fold.values()) if self.by_fold else None


@dataclass(frozen=True)
class Spread:
    """Minimum, mean and maximum of a score; None where it is undefined throughout."""

    low: float | None
    mean: float | None
    high: float | None


def paired_difference(
    run: Run, line: Line, fraction: float, baseline: Line = SCRATCH, metric: str | None = None
) -> Difference:
    """Return how far a line's metric, by default the primary one, lies above the baseline's, pair by pair.

    Repetitions are averaged within a fold first, then folds, so that a fold with more repetitions weighs no more.
    """
    pairs, unpaired = _pairs(run, line, fraction, baseline, metric or run.metric)
    differences = {fold: fmean(ours - theirs for ours, theirs in values) for fold, values in pairs.items()}
    return Difference(differences, unpaired)


def fold_means(run: Run, line: Line, fraction: float, metric: str) -> dict[int, tuple[float, float]]:
    """Return a line's mean metric and training from scratch's by fold, of the repetitions in which both have one."""
    pairs, _ = _pairs(run, line, fraction, SCRATCH, metric)
    return {fold: (fmean(p[0] for p in values), fmean(p[1] for p in values)) for fold, values in pairs.items()}


def _pairs(
    run: Run, line: Line, fraction: float, baseline: Line, metric: str
) -> tuple[dict[int, list[tuple[float, float]]], int]:
    """Return a line's scores and its partners' by fold, and how many of its cells have no pair."""
    partners = {(c.fold, c.repetition): c.scores.get(metric) for c in select(run, baseline, fraction)}
    pairs: dict[int, list[tuple[float, float]]] = defaultdict(list)
    unpaired = 0
    for cell in select(run, line, fraction):
        score, partner = cell.scores.get(metric), partners.get((cell.fold, cell.repetition))
        if score is None or partner is None:
            unpaired += 1
        else:
            pairs[cell.fold].append((score, partner))
    return dict(sorted(pairs.items())), unpaired


def select(run: Run, line: Line, fraction: float) -> list[Cell]:
    """Return the cells of a line at a fraction, in the order of results.csv."""
    return [cell for cell in run.cells if (cell.line, cell.fraction) == (line, fraction)]


def spread(run: Run, line: Line, fraction: float) -> Spread:
    """Return the primary metric's minimum, mean and maximum: summary.csv's own where it has them.

    Summaries hold the spread of QWK alone; for another primary metric it is drawn from results.csv, repetitions
    averaged within a fold before folds.
    """
    summary = run.summary(line, fraction)
    if summary is not None and f"{run.metric}_min" in summary.scores:
        low, mean, high = (summary.scores.get(f"{run.metric}_{name}") for name in ("min", "mean", "max"))
        return Spread(low, mean, high)
    by_fold = defaultdict(list)
    for cell in select(run, line, fraction):
        score = cell.scores[run.metric]
        if score is not None:
            by_fold[cell.fold].append(score)
    if not by_fold:
        return Spread(None, None, None)
    scores = [score for values in by_fold.values() for score in values]
    return Spread(min(scores), fmean(fmean(values) for values in by_fold.values()), max(scores))


def mean_interval(run: Run, line: Line, fraction: float, metric: str) -> tuple[float, float] | None:
    """Return the 95 % interval of a line's mean metric over folds, by the corrected resampled t.

    It is [corrected_t][sslkit.statistics.corrected_t] of the scores themselves, in place of differences. None where
    fewer than three folds have a score (two would give intervals wider than the scale), or all folds scored alike.
    """
    from sslkit.statistics import corrected_t

    by_fold = defaultdict(list)
    for cell in select(run, line, fraction):
        score = cell.scores.get(metric)
        if score is not None:
            by_fold[cell.fold].append(score)
    if len(by_fold) < LEAST_FOLDS:
        return None
    test = corrected_t([fmean(scores) for scores in by_fold.values()])
    return None if test.low is None or test.high is None else (test.low, test.high)


def mean_curve(curves: Iterable[Sequence[Mapping[str, float]]], step: str, metric: str) -> dict[float, float]:
    """Return the mean of a metric at each step, over the curves in which it is defined there.

    Example:
        >>> mean_curve([[{"update": 1, "qwk": 0.2}], [{"update": 1, "qwk": 0.4}]], "update", "qwk")
        {1: 0.30000000000000004}
    """
    values = defaultdict(list)
    for curve in curves:
        for row in curve:
            if step in row and metric in row:
                values[row[step]].append(row[metric])
    return {at: fmean(values[at]) for at in sorted(values)}
