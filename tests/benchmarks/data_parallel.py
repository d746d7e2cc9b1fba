"""Measures what two processes gain over one: python tests/benchmarks/data_parallel.py [--batch N] [--own-batch-norm]

Rotation pretraining of DenseNet121, 64 px, four views an image, each process in one thread, the precision that "auto"
chooses. One and two processes take turns, since times drift; nothing else should run. The ratio of views a
second by the clock is what counts. That by processor time, of one process over the busier of two, says what the clock
would say if nobody ever waited: where it is high and the other is low, others used the cores.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

WARM = 3
"""Updates that are not timed."""


class Rate(NamedTuple):
    """Views a second, by the clock and by processor time."""

    clock: float
    processor: float


class _EnoughError(Exception):
    """It was timed for long enough."""


def processor_seconds() -> float:
    """Return the processor time of the busiest process that computes: a child, or this one where there is none."""
    ticks = os.sysconf("SC_CLK_TCK")
    children = [child.pid for child in multiprocessing.active_children()]
    if not children:
        return time.process_time()
    texts = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in children]
    return max((int(fields[11]) + int(fields[12])) / ticks for fields in texts)


def rate(job: Any, batch: int, seconds: float) -> Rate:
    """Return how fast a pretraining is, which is then broken off."""
    points: list[tuple[float, float]] = []

    def report(values: Mapping[str, Any]) -> None:
        if values.get("done", 0) >= WARM:
            points.append((time.perf_counter(), processor_seconds()))
            if points[-1][0] - points[0][0] > seconds and len(points) > 2:
                raise _EnoughError

    with contextlib.suppress(_EnoughError):
        job.execute(report)
    views = 4 * batch * (len(points) - 1)
    return Rate(*(views / (last - first) for first, last in zip(points[0], points[-1], strict=True)))


def main() -> None:
    """Print the rates of each round and the median of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="images of all processes together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--own-batch-norm", action="store_true", help="compute.sync_batchnorm = false")
    chosen = parser.parse_args()
    # Here, since every process that is started imports this file again.
    import torch
    from measures import config_of, prepared_of

    torch.set_num_threads(1)
    settings = {"sync_batchnorm": not chosen.own_batch_norm}
    ratios: list[Rate] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, chosen.processes):
            Path(folder, str(count)).mkdir()
        jobs = {
            count: prepared_of(
                config_of(
                    64,
                    pretraining={"epochs": 100_000, "batch_size": chosen.batch},
                    compute={**settings, "processes": count},
                ),
                Path(folder, str(count)),
            ).jobs.pretrainings[0]
            for count in (1, chosen.processes)
        }
        for number in range(chosen.rounds):
            one, several = (rate(job, chosen.batch, chosen.seconds) for job in jobs.values())
            ratios.append(Rate(several.clock / one.clock, several.processor / one.processor))
            print(
                f"round {number + 1}: {one.clock:.0f} views/s by one, {several.clock:.0f} by {chosen.processes}: "
                f"{ratios[-1].clock:.2f} by the clock, {ratios[-1].processor:.2f} by processor time",
                flush=True,
            )
            for job in jobs.values():
                (job.folder / "last.ckpt").unlink(missing_ok=True)
    clock, processor = (statistics.median(values) for values in zip(*ratios, strict=True))
    print(f"median: {clock:.2f} by the clock, {processor:.2f} by processor time")


if __name__ == "__main__":
    main()
