"""What may be concluded from the scores of a run: paired tests, intervals, and the labels that pretraining saved.

Pure functions of NumPy arrays. ``None`` stands for what is undefined, so that no average takes it in silently.
"""

from __future__ import annotations

from sslkit.statistics.bootstrap import FoldPredictions, bootstrap_fold_mean
from sslkit.statistics.label_savings import EquivalentShare, LabelsSaved, isotonic, labels_saved
from sslkit.statistics.paired import LEVEL, PairedTest, Verdict, corrected_t, holm, verdict
from sslkit.statistics.sentence import labels_saved_sentence

__all__ = [
    "LEVEL",
    "EquivalentShare",
    "FoldPredictions",
    "LabelsSaved",
    "PairedTest",
    "Verdict",
    "bootstrap_fold_mean",
    "corrected_t",
    "holm",
    "isotonic",
    "labels_saved",
    "labels_saved_sentence",
    "verdict",
]
