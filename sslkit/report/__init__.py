"""The report of a run: its tables and figures in one HTML file, made from the run directory alone."""

from sslkit.report.html import write_report

__all__ = ["write_report"]
