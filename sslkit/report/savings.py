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

    rows = {row.fraction: row for row in run.summaries if row.line == line}  # whoever wrote them, in whatever order
    shares = sorted(rows)
    labels = [count for share in shares if (count := rows[share].labels) is not None]
    helped = next((share for share in shares if rows[share].verdict == "benefit"), None)
    pairs = [fold_means(run, line, share, "qwk") for share in shares]
    folds = sorted(set().union(*pairs))
    if helped is None or len(labels) < len(shares) or not folds:
        return None
    arms = np.array([[found.get(fold, (np.nan, np.nan)) for fold in folds] for found in pairs])
    return labels_saved(shares, labels, arms[..., 0], arms[..., 1], helped)
