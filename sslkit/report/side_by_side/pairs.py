"""Runs against each other in pairs: possible where their splits are the same, and refused with a reason elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from sslkit.report.comparison import SCRATCH, paired_difference
from sslkit.report.side_by_side.named import NamedRun
from sslkit.report.tables import Line, Run


@dataclass(frozen=True)
class Estimate:
    """A mean paired difference at a share of the labels; None stands for what a test cannot say."""

    delta: float
    low: float | None
    high: float | None
    p_holm: float | None
    folds: int


@dataclass(frozen=True)
class RunPair:
    """An arm of one run less the same arm of another.

    Attributes:
        label: what is subtracted from what.
        by_share: the difference at each share that both have.
    """

    label: str
    by_share: dict[float, Estimate]


def why_no_pairs(runs: Sequence[NamedRun]) -> str | None:
    """Return why runs cannot be compared in pairs; None where they can.

    Pairs need the same images in the same test folds, and the same order in which labels are given out: that is what
    the hash of splits.json stands for.
    """
    data = [run.run.info.get("data", {}) for run in runs]
    unknown = [run.name for run, values in zip(runs, data, strict=True) if not values.get("splits_hash")]
    if unknown:
        return f"of {', '.join(unknown)} it is not known how the images were split (run.json has no splits_hash)"
    if len({values["splits_hash"] for values in data}) == 1:
        return None
    hashes = [values.get("hash") for values in data]
    if None not in hashes and len(set(hashes)) == 1:
        return (
            "they have the same data in other splits: other test folds, or another order of labels, as another seed or "
            "another number of folds makes them"
        )
    return "their data differ, and so do the images that they were tested on"


def same_data(runs: Sequence[NamedRun]) -> bool | None:
    """Return whether images, grades and groups are the same in all runs; None where it is not known of some."""
    hashes = [run.run.info.get("data", {}).get("hash") for run in runs]
    return None if not all(hashes) else len(set(hashes)) == 1


def run_pairs(runs: Sequence[NamedRun], metric: str) -> list[RunPair]:
    """Return the paired differences of each two runs, the later less the earlier, arm by arm.

    Arms of the same name are paired. Where a run has an arm with several pretext tasks, the same tasks are. The
    interval and p are those of the corrected resampled t over folds; p is adjusted over the shares of a pair (Holm),
    and not over pairs.
    """
    return [
        RunPair(_label(first, second, *lines), found)
        for first, second in combinations(runs, 2)
        for lines in _partners(first.run, second.run)
        if (found := _by_share(first.run, second.run, *lines, metric=metric))
    ]


def _partners(first: Run, second: Run) -> Iterator[tuple[Line, Line]]:
    """Yield the lines of two runs that stand for the same arm, training from scratch last."""
    arms = [line.arm for line in first.lines if line != SCRATCH] + [SCRATCH.arm]
    for arm in dict.fromkeys(arms):
        ours, theirs = ([line for line in run.lines if line.arm == arm] for run in (first, second))
        if len(ours) == len(theirs) == 1:
            yield ours[0], theirs[0]
        else:
            yield from ((line, line) for line in ours if line in theirs)


def _label(first: NamedRun, second: NamedRun, ours: Line, theirs: Line) -> str:
    arm = theirs.label if ours == theirs else theirs.arm
    return f"{arm}: {second.name} less {first.name}"


def _by_share(first: Run, second: Run, ours: Line, theirs: Line, *, metric: str) -> dict[float, Estimate]:
    from sslkit.statistics import corrected_t, holm

    found = {}
    baseline = Line(ours.pretext, f"{ours.arm}\N{NULL}")  # the first run's line among the second's: no arm is called so
    cells = [cell for cell in second.cells if cell.line == theirs]
    cells += [replace(cell, line=baseline) for cell in first.cells if cell.line == ours]
    both = replace(second, cells=tuple(cells))
    for fraction in both.fractions:
        difference = paired_difference(both, theirs, fraction, baseline, metric)
        if difference.mean is not None:
            test = corrected_t(list(difference.by_fold.values()))
            found[fraction] = Estimate(difference.mean, test.low, test.high, test.p_value, len(difference.by_fold))
    adjusted = holm([one.p_holm for one in found.values()])
    return {fraction: replace(one, p_holm=p) for (fraction, one), p in zip(found.items(), adjusted, strict=True)}
