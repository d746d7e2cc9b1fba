"""What others have published on the same images, to be shown beside a run as what it is: another protocol's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sslkit.report.comparison import Spread
from sslkit.report.tables import Run

_MOST_MISSING = 0.01
"""Share of a data set's images that may be unreadable or left out: it is still recognised."""


@dataclass(frozen=True)
class Reference:
    """Published scores by share of the labels.

    Attributes:
        label: what a figure and a table call it.
        class_counts: labelled images of each class of the data set, by which it is recognised.
        metric: the column of results.csv that was published.
        spreads: minimum, mean and maximum by share of the labels, ascending.
        source: the citation.
        caution: why its figures are not directly comparable.
    """

    label: str
    class_counts: tuple[int, ...]
    metric: str
    spreads: Mapping[float, Spread]
    source: str
    caution: str


APTOS_ROTATION = Reference(
    label="published (IJRASET 2022)",
    class_counts=(1805, 370, 999, 193, 295),
    metric="qwk",
    spreads={
        0.05: Spread(0.175, 0.294, 0.467),
        0.1: Spread(0.289, 0.432, 0.508),
        0.25: Spread(0.474, 0.575, 0.694),
        0.5: Spread(0.612, 0.680, 0.737),
        1.0: Spread(0.696, 0.725, 0.756),
    },
    source=(
        "“Self-Supervised Learning for Medical Imaging”, IJRASET 10(VI), 2022, on the training images of APTOS 2019, "
        "pretrained by rotation after Taleb et al., “3D Self-Supervised Methods for Medical Imaging”, NeurIPS 2020, "
        "arXiv 2006.03829"
    ),
    caution=(
        "Not directly comparable: there pretraining saw the test images, folds were neither stratified nor grouped by "
        "patient, fine-tuning took 20 epochs at every share, so that few labels had few updates and the baseline was "
        "trained less, and the ordinal decoding could leave test images out of the score."
    ),
)
"""QWK of a DenseNet121 at 224 pixels, pretrained on all images, in five folds."""

REFERENCES = (APTOS_ROTATION,)


def reference_for(run: Run) -> Reference | None:
    """Return what was published on a run's data; None where nothing is known.

    A data set is recognised by its labelled images of each class, as run.json counts them: none has more than the
    published set, and all together lack no more than 1 %, which may be unreadable or left out. Names and paths have
    no say. The run must lead with the metric that was published.
    """
    counts = run.info.get("data", {}).get("class_counts", [])
    for reference in REFERENCES:
        known = reference.class_counts
        if run.metric != reference.metric or len(counts) != len(known):
            continue
        missing = [there - here for there, here in zip(known, counts, strict=True)]
        if min(missing) >= 0 and sum(missing) <= _MOST_MISSING * sum(known):
            return reference
    return None
