"""What the scores of a run show: paired differences to training from scratch, their intervals, and verdicts."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.scoring import read_predictions
from sslkit.experiment.sentences import BY
from sslkit.statistics import (
    FoldPredictions,
    LabelsSaved,
    bootstrap_fold_mean,
    corrected_t,
    holm,
    labels_saved,
    labels_saved_sentence,
    verdict,
)

Row = dict[str, Any]

BASELINE = "scratch"

DIFFERENCE_COLUMNS = ("ci_low", "ci_high", "delta", "delta_low", "delta_high", "p_value", "p_holm", "verdict")
"""What [add_differences][sslkit.experiment.conclusions.add_differences] adds to a row of summary.csv."""


def add_differences(summary: Sequence[Row], rows: Sequence[Row], directory: RunDirectory, num_classes: int) -> None:
    """Add to each row of a summary its interval, and how its arm differs from training from scratch.

    ``ci_low`` and ``ci_high`` are a bootstrap of the test patients with the models fixed: they say nothing of another
    training. ``delta`` is the mean paired difference over folds (same share, fold and repetition; repetitions
    averaged within a fold first), with the interval and the p-value of the corrected resampled t; ``p_holm`` is that
    p-value adjusted over an arm's shares, and the verdict is drawn from it.

    Args:
        summary: the rows of summary.csv, changed in place.
        rows: the rows of results.csv.
        directory: where the cells' predictions are.
        num_classes: K.
    """
    for line in summary:
        cells = [row for row in rows if all(row[key] == line[key] for key in ("pretext", "arm", "fraction"))]
        line["ci_low"], line["ci_high"] = bootstrap_fold_mean(_predictions(cells, directory), num_classes)
        line |= dict.fromkeys(DIFFERENCE_COLUMNS[2:])
    for _, arm in groupby(summary, key=lambda line: (line["pretext"], line["arm"])):
        lines = list(arm)
        if lines[0]["arm"] == BASELINE or not any(row["arm"] == BASELINE for row in rows):
            continue
        tests = [corrected_t(_differences(line, rows)) for line in lines]
        adjusted = holm([test.p_value for test in tests])
        for line, test, p_holm in zip(lines, tests, adjusted, strict=True):
            line |= {"delta": test.delta, "delta_low": test.low, "delta_high": test.high}
            line |= {"p_value": test.p_value, "p_holm": p_holm, "verdict": verdict(test.delta, p_holm)}


def conclude(summary: Sequence[Row], rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return one sentence for each arm that is compared with training from scratch.

    How many labels were saved is said only at a share where a benefit was shown: at the smallest of them.
    """
    conclusions = []
    for (pretext, arm), group in groupby(summary, key=lambda line: (line["pretext"], line["arm"])):
        lines = list(group)
        if lines[0]["verdict"] is None:
            continue
        conclusions.append({"pretext": pretext, "arm": arm, "sentence": _sentence(pretext, arm, lines, rows)})
    return conclusions


def _sentence(pretext: str, arm: str, lines: Sequence[Row], rows: Sequence[Row]) -> str:
    subject = f"{BY}{pretext} ({arm})" if pretext and arm != "pretrained" else f"{BY}{pretext}"
    subject = subject if pretext else f"starting from {arm} weights"
    harmed = [line for line in lines if line["verdict"] == "harm"]
    helped = [line for line in lines if line["verdict"] == "benefit"]
    words = []
    if helped:
        saved = _labels_saved(lines, rows, helped[0]["fraction"])
        words.append(
            f"With {_percent(helped[0])} of the labels, {subject} helps"
            if saved is None
            else labels_saved_sentence(saved, subject)
        )
    if harmed:
        shares = ", ".join(map(_percent, harmed))
        words.append(
            f"{'But harm' if helped else 'Harm'}: with {shares} of the labels, {subject} does worse than scratch"
        )
    if not words:
        shares = _percent(lines[0]) if len(lines) == 1 else f"{_percent(lines[0])} to {_percent(lines[-1])}"
        words.append(f"No difference shown: {subject} against training from scratch, on {shares} of the labels")
    return ". ".join(words) + "."


def _percent(line: Row) -> str:
    return f"{100 * line['fraction']:.4g} %"


def _labels_saved(lines: Sequence[Row], rows: Sequence[Row], share: float) -> LabelsSaved | None:
    pretrained, scratch = (
        np.full((len(lines), max(row["fold"] for row in rows) + 1), np.nan, dtype=np.float64) for _ in range(2)
    )
    for number, line in enumerate(lines):
        for fold, pairs in _pairs(line, rows).items():
            pretrained[number, fold], scratch[number, fold] = np.mean(pairs, axis=0)
    shares, labels = [line["fraction"] for line in lines], [line["labels"] for line in lines]
    return labels_saved(shares, labels, pretrained, scratch, share)


def _pairs(line: Row, rows: Sequence[Row]) -> dict[int, list[tuple[float, float]]]:
    """Return the kappas of an arm and of the baseline in each fold, of the repetitions in which both are defined."""
    at_share = [row for row in rows if row["fraction"] == line["fraction"]]
    partners = {(row["fold"], row["repetition"]): row["qwk"] for row in at_share if row["arm"] == BASELINE}
    by_fold: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in at_share:
        partner = partners.get((row["fold"], row["repetition"]))
        ours = (row["pretext"], row["arm"]) == (line["pretext"], line["arm"])
        if ours and row["qwk"] is not None and partner is not None:
            by_fold[row["fold"]].append((row["qwk"], partner))
    return by_fold


def _differences(line: Row, rows: Sequence[Row]) -> list[float]:
    """Return the paired difference of each fold, averaged over its repetitions."""
    return [statistics.fmean(ours - theirs for ours, theirs in pairs) for pairs in _pairs(line, rows).values()]


def _predictions(cells: Iterable[Row], directory: RunDirectory) -> list[FoldPredictions]:
    """Return the predictions of each fold, its repetitions together."""
    folds = []
    for _, group in groupby(sorted(cells, key=lambda cell: cell["fold"]), key=lambda cell: cell["fold"]):
        read = [read_predictions(directory.cell(cell["cell"]) / "predictions.csv") for cell in group]
        predicted = np.stack([images.predicted for images in read])
        folds.append(FoldPredictions(read[0].targets, predicted, np.array(read[0].groups)))
    return folds
