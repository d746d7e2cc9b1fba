"""The report of a run: its tables and figures in one HTML file, made from the run directory alone."""

from sslkit.report.cards.weights_card import weights_card
from sslkit.report.html import write_report

__all__ = ["weights_card", "write_report"]
