"""The labels that pretraining saved, of the arms for which a benefit was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslkit.report.comparison import SCRATCH, fold_means
from sslkit.report.tables import Line, Run

if TYPE_CHECKING:
    from sslkit.statistics import LabelsSaved


def savings(run: Run) -> dict[Line, LabelsSaved]:
    """Return what each line saved at the smallest share with a benefit, as the run's conclusions tell it.

    Lines without a benefit are left out: nothing that was not shown is counted in labels. So are those of which no
    fold has all its cells.
    """
    found = {}
    for line in run.lines:
        saved = _saved(run, line) if line != SCRATCH else None
        if saved is not None:
            found[line] = saved
    return found


def _saved(run: Run, line: Line) -> LabelsSaved | None:
    import numpy as np

    from sslkit.statistics import labels_saved

    rows = [row for row in run.summaries if row.line == line]
    helped = next((row.fraction for row in rows if row.verdict == "benefit"), None)
    if helped is None or any(row.labels is None for row in rows):
        return None
    folds = max(cell.fold for cell in run.cells) + 1
    arms = np.full((2, len(rows), folds), np.nan)
    for place, row in enumerate(rows):
        for fold, pair in fold_means(run, line, row.fraction, "qwk").items():
            arms[:, place, fold] = pair
    return labels_saved([r.fraction for r in rows], [r.labels or 0.0 for r in rows], arms[0], arms[1], helped)
