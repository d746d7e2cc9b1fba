"""The figures of a report: each is drawn by matplotlib and comes as SVG for a page, and as SVG and PNG for files."""

from sslkit.report.figures.canvas import Drawing
from sslkit.report.figures.confusion import draw_confusion
from sslkit.report.figures.curves import draw_convergence, draw_pretraining
from sslkit.report.figures.differences import draw_differences, draw_differences_by_share
from sslkit.report.figures.recall import draw_recall
from sslkit.report.figures.reliability import draw_reliability
from sslkit.report.figures.savings import draw_savings
from sslkit.report.figures.scores import draw_scores

__all__ = [
    "Drawing",
    "draw_confusion",
    "draw_convergence",
    "draw_differences",
    "draw_differences_by_share",
    "draw_pretraining",
    "draw_recall",
    "draw_reliability",
    "draw_savings",
    "draw_scores",
]
