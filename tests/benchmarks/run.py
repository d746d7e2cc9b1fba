"""Measures the table of docs/performance.md: python tests/benchmarks/run.py [--only NAME]... [--rounds N]

Ratios within one run are what counts: times drift, and both sides of a ratio drift alike. Nothing else should run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import NamedTuple


class Row(NamedTuple):
    """What is to be reached, and how often it is measured."""

    goal: str
    rounds: int


ROWS = {
    "against_bare": Row("at least 0.95", 2),
    "against_plain": Row("at least 2.3 with bf16 in hardware", 1),
    "pretrainings": Row("at least 1.4", 1),
    "cells": Row("at least 1.4", 1),
    "with_compile": Row("at least 1.25", 1),
    "ingest": Row("at least 4", 5),
    "data_share": Row("below 2 %", 1),
    "kappa": Row("at least 20", 5),
    "start": Row("below 2.5", 3),
    "memory": Row("below 150 MB", 1),
    "prediction": Row("at least 0.8", 3),
}


def main() -> None:
    """Print the table, each row measured by a process of its own, so that none inherits another's memory or threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(ROWS), help="may be given several times")
    parser.add_argument("--rounds", type=int, help="of every measurement, in place of its own number")
    parser.add_argument("--row", choices=list(ROWS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.row:
        measure(chosen.row, chosen.rounds)
        return
    for name in chosen.only or ROWS:
        rounds = str(chosen.rounds or ROWS[name].rounds)
        subprocess.run([sys.executable, __file__, "--row", name, "--rounds", rounds], check=True)


def measure(name: str, rounds: int) -> None:
    """Print a row."""
    # Here, since every process of the local executor imports this file again.
    import measures

    function = getattr(measures, name)
    started = time.perf_counter()
    ratios = function(rounds)
    what = (function.__doc__ or "").strip()
    print(f"{name}: {measures.spread(ratios)}; {ROWS[name].goal} [{time.perf_counter() - started:.0f} s]\n    {what}")


if __name__ == "__main__":
    main()
