"""The report of a run, and of several side by side: tables and figures in one HTML file, from run directories alone."""

from sslkit.report.cards.weights_card import weights_card
from sslkit.report.html import write_report
from sslkit.report.side_by_side import compare_runs

__all__ = ["compare_runs", "weights_card", "write_report"]
