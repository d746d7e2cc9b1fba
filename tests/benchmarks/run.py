"""Measures the table of docs/performance.md: python tests/benchmarks/run.py [--only NAME]... [--rounds N]

Ratios within one run are what counts: times drift, and both sides of a ratio drift alike. Nothing else should run.
"""

from __future__ import annotations

import argparse
import platform
import time
from typing import NamedTuple


class Row(NamedTuple):
    """A row of the table: a name, the goal, and how often it is measured."""

    name: str
    goal: str
    rounds: int


ROWS = (
    Row("against_bare", "at least 0.95", 2),
    Row("against_plain", "at least 2.3 with bf16 in hardware", 1),
    Row("pretrainings", "at least 1.4", 1),
    Row("cells", "at least 1.4", 1),
    Row("with_compile", "at least 1.25", 1),
    Row("ingest", "at least 4", 5),
    Row("data_share", "below 2 %", 1),
    Row("kappa", "at least 20", 5),
    Row("start", "below 2.5", 3),
    Row("memory", "below 150 MB", 1),
    Row("prediction", "at least 0.8", 2),
)


def main() -> None:
    """Print the table."""
    # Here, since every process of the local executor imports this file again.
    import measures
    import torch

    from sslkit.engine.precision import resolve_compute

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", choices=[row.name for row in ROWS], help="may be given several times"
    )
    parser.add_argument("--rounds", type=int, help="of every measurement, in place of its own number")
    chosen = parser.parse_args()
    precision = resolve_compute("cpu", "auto", False).precision
    print(f"{platform.platform()}, {measures.CORES} cores, torch {torch.__version__}, {precision}")
    for row in ROWS:
        if chosen.only and row.name not in chosen.only:
            continue
        function = getattr(measures, row.name)
        started = time.perf_counter()
        ratios = function(chosen.rounds or row.rounds)
        what = (function.__doc__ or "").strip()
        print(f"{row.name}: {measures.spread(ratios)}; {row.goal} [{time.perf_counter() - started:.0f} s]\n    {what}")


if __name__ == "__main__":
    main()
