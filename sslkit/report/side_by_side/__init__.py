"""Several runs side by side, in one page made from their run directories."""

from sslkit.report.side_by_side.writing import compare_runs

__all__ = ["compare_runs"]
