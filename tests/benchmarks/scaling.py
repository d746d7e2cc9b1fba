"""Measures how time and memory grow, and fits the cost model of docs/performance.md: python tests/benchmarks/scaling.py

Four sizes of images, four numbers of images. Nothing else should run.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from process_memory import memory

SIZES = (32, 64, 112, 224)
COUNTS = (1_000, 10_000, 100_000, 1_000_000)
PLANNING = Path(__file__).with_name("planning.py")


def memory_of(job: Any, pipe: Any) -> None:
    """Send the private memory of a job after a few updates; it gives none back."""
    from measures import job_rate

    job_rate(job, images=1, seconds=0)
    pipe.send(memory("RssAnon"))


def measure_size(size: int) -> dict[str, float]:
    """Return what a study of images of a size costs, through the code of a run."""
    from measures import config_of, prepared_of

    import sslkit
    from sslkit.engine.precision import keep_freed_memory

    keep_freed_memory()
    config = config_of(size, pretraining={"epochs": 1_000})
    bench = sslkit.bench(config, seconds=5)
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        job = prepared_of(config, Path(folder)).jobs.pretrainings[0]
        process = context.Process(target=memory_of, args=(job, theirs))
        process.start()
        held = ours.recv()
        process.join()
    workers = bench.estimate["workers"]
    return {
        "view_ms": 1000 * workers / bench.pretraining["views_per_s"],
        "forward_ms": 1000 / bench.cells["features_per_s"],
        "job_mb": held / 1e6,
    }


def measure_planning(count: int) -> dict[str, float]:
    """Return seconds and megabytes of listing, splitting and planning so many images."""
    example = Path(__file__).parents[2] / "examples" / "dr_rotation.toml"
    command = [sys.executable, str(PLANNING), str(example), str(count)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"plan_s": told["seconds"], "plan_mb": told["bytes"] / 1e6}


def fit(amounts: list[float], values: list[float]) -> tuple[float, float, float]:
    """Return constant and slope of the line that misses the values least in relation to them, and its worst miss."""
    design = np.stack([np.ones(len(amounts)), amounts], axis=1)
    weights = 1 / np.array(values)
    line = np.linalg.lstsq(design * weights[:, None], np.ones(len(values)), rcond=None)[0]
    return float(line[0]), float(line[1]), float(np.abs(design @ line / values - 1).max())


def table(what: str, keys: tuple[Any, ...], measure: Callable[[Any], dict[str, float]], amount: Any, unit: str) -> None:
    """Print what was measured for each key, and the lines through it."""
    found = {key: measure(key) for key in keys}
    for key, values in found.items():
        print(f"{what} {key:>9,}: " + ", ".join(f"{name} {value:.3g}" for name, value in values.items()), flush=True)
    for name in next(iter(found.values())):
        constant, slope, miss = fit([amount(key) for key in keys], [values[name] for values in found.values()])
        print(f"    {name} = {constant:.3g} + {slope:.3g} for each {unit} (within {miss:.0%})")


def main() -> None:
    """Print both tables."""
    table("size", SIZES, measure_size, lambda size: size**2 / 224**2, "image of 224 x 224 pixels")
    table("images", COUNTS, measure_planning, lambda count: count / 1e6, "million images")


if __name__ == "__main__":
    main()
