"""Makes the figures and the table of docs/scale.md from the times of jobs in docs/scale.json.

python docs/scale.py            # simulates, draws, and writes the table: half a minute
python docs/scale.py measure    # measures the times on this machine first: a few minutes, while nothing else runs
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from simulation import Task, World, simulate

HERE = Path(__file__).parent
TIMES, PAGE, IMAGES = HERE / "scale.json", HERE / "scale.md", HERE / "images"
EXAMPLE = HERE.parent / "examples" / "dr_rotation.toml"
SMALL = ("images.size=32", "pretraining.epochs=4")
BEGIN, END = "<!-- table: python docs/scale.py -->", "<!-- end of table -->"

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
ORDERED_ON = (2, 4, 8, 16, 64)
SEEDS = 40
PROCESSES = 8
EPOCHS = (200, 20)
FOLDS, SHARES, REPETITIONS = 5, 5, 5
VIEW, FORWARD = 0.0205, 0.0047
"""Seconds of a view forward and backward, and of an image forward, at 112 pixels: docs/performance.md."""
KEPT = 0.93
"""Share of its pace that a process keeps with every doubling of the processes of a pretraining: assumed."""

CLUSTER = World(1, start=4.0)
SLOW = {"slow_share": 0.05}
FAILING = {"failures": 0.05}


def study(times: Mapping[str, Any], epochs: int = 200, processes: int = 1) -> list[Task]:
    """Return the jobs of a study of 600 images: 5 pretrainings, and 250 cells, half of which wait for them.

    The lengths are those of the cost model; each job differs from the mean of its kind as the measured ones do.

    Args:
        times: measured seconds of jobs by kind.
        epochs: of a pretraining.
        processes: of a pretraining.
    """
    doublings = (processes - 1).bit_length()
    pretraining = epochs * 480 * 4 * VIEW / (processes * KEPT**doublings)
    cell = 340 * 32 * VIEW + (10 * 120 + 60 * 32) * FORWARD
    spread = {
        kind: [value / statistics.fmean(times[kind]) for value in times[kind]] for kind in ("pretraining", "cells")
    }
    tasks = [
        Task(f"pretraining/{fold}", pretraining * spread["pretraining"][fold], (), processes, checkpoint=30.0)
        for fold in range(FOLDS)
    ]
    for arm in ("pretrained", "scratch"):
        for number in range(SHARES * FOLDS * REPETITIONS):
            after = (f"pretraining/{number % FOLDS}",) if arm == "pretrained" else ()
            factor = spread["cells"][number % len(spread["cells"])]
            tasks.append(Task(f"{arm}/{number}", cell * factor, after))
    return tasks


def hours(tasks: Sequence[Task], world: World) -> float:
    """Return the mean of the hours until the last job ends, over as many draws as it has a say in."""
    drawn = world.slow_share or world.failures or world.order == "random"
    return statistics.fmean(simulate(tasks, world, seed) for seed in range(SEEDS if drawn else 1)) / 3600


def row(times: Mapping[str, Any], epochs: int, workers: int) -> str:
    """Return a line of a table of docs/scale.md."""
    tasks, world = study(times, epochs), replace(CLUSTER, workers=workers)
    both = replace(world, **SLOW, **FAILING)
    alone, took = hours(tasks, World(1)), hours(tasks, world)
    figures = [
        f"{took:.2f}",
        f"{alone / took:.1f}",
        f"{alone / took / workers:.0%}",
        f"{bound(tasks, workers):.2f}",
        f"{hours(tasks, replace(world, **SLOW)):.2f}",
        f"{hours(tasks, replace(world, **FAILING)):.2f}",
        f"{hours(tasks, both):.2f}",
        f"{hours(tasks, replace(both, copies=True)):.2f}",
        f"{hours(study(times, epochs, min(PROCESSES, workers)), world):.2f}",
    ]
    return f"| {workers} | {' | '.join(figures)} |"


def table(times: Mapping[str, Any], epochs: int) -> str:
    """Return a table of docs/scale.md."""
    head = (
        "| workers | hours | speed-up | efficiency | least possible | with slow nodes | with failures | with both "
        "| both, and copies | pretrainings of 8 processes |"
    )
    return "\n".join([head, "|" + "---:|" * 10, *(row(times, epochs, workers) for workers in WORKERS)])


def orders(times: Mapping[str, Any]) -> str:
    """Return what other orders of the same jobs cost."""
    tasks = study(times)
    lines = ["| workers | longest first | as planned | at random | shortest first |", "|" + "---:|" * 5]
    for workers in ORDERED_ON:
        world = replace(CLUSTER, workers=workers)
        took = [hours(tasks, replace(world, order=order)) for order in ("longest", "plan", "random", "shortest")]
        lines.append(f"| {workers} | {' | '.join(f'{value:.2f}' for value in took)} |")
    return "\n".join(lines)


def bound(tasks: Sequence[Task], workers: int) -> float:
    """Return the hours that no schedule beats: of the work over the workers and the critical path, the longer."""
    ends: dict[str, float] = {}
    for task in tasks:
        ends[task.id] = task.seconds + max((ends[name] for name in task.after), default=0.0)
    return max(sum(task.seconds * task.processes for task in tasks) / workers, *ends.values()) / 3600


def draw(times: Mapping[str, Any]) -> None:
    """Draw speed-up by workers, for light and for dark pages."""
    from matplotlib import pyplot as plt

    panels = {f"{epochs} epochs of pretraining": epochs for epochs in EPOCHS}
    for ink, blue, suffix in (("#1b1f24", "#0072b2", ""), ("#e6e8eb", "#56b4e9", "-dark")):
        style = {
            **{"svg.hashsalt": "sslkit", "font.size": 9, "svg.fonttype": "none", "text.color": ink},
            **{"axes.edgecolor": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink},
        }
        with plt.rc_context(style):
            figure, axes = plt.subplots(2, 1, figsize=(6, 6.4), sharex=True, layout="constrained")
            for axis, (title, epochs) in zip(axes, panels.items(), strict=True):
                _panel(axis, times, epochs, title, blue)
            axes[-1].set_xlabel("workers")
            axes[0].legend(frameon=False, loc="upper left", fontsize=8)
            figure.savefig(IMAGES / f"scale{suffix}.svg", transparent=True, metadata={"Date": None, "Creator": None})
            plt.close(figure)


def _panel(axis: Any, times: Mapping[str, Any], epochs: int, title: str, blue: str) -> None:
    tasks = study(times, epochs)
    wide = [study(times, epochs, min(PROCESSES, workers)) for workers in WORKERS]
    alone = hours(tasks, World(1))
    lines = {
        "least possible": ([alone / bound(tasks, workers) for workers in WORKERS], "#8b949e", ":"),
        "longest first": (_faster(alone, [tasks] * len(WORKERS)), blue, "-"),
        "with slow nodes and failures": (_faster(alone, [tasks] * len(WORKERS), **SLOW, **FAILING), "#d55e00", "--"),
        "pretrainings of 8 processes": (_faster(alone, wide), "#009e73", "-."),
    }
    for name, (values, colour, dash) in lines.items():
        axis.plot(WORKERS, values, dash, color=colour, label=name, linewidth=1.6)
    axis.set(xscale="log", yscale="log", title=title, ylabel="times faster than one worker")
    axis.set_xticks(WORKERS[::2], [str(workers) for workers in WORKERS[::2]])
    axis.set_yticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
    axis.minorticks_off()
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _faster(alone: float, studies: Sequence[Sequence[Task]], **world: Any) -> list[float]:
    return [
        alone / hours(tasks, replace(CLUSTER, workers=workers, **world))
        for workers, tasks in zip(WORKERS, studies, strict=True)
    ]


class _Watch:
    """Notes how long each job takes, and how long all."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.times: dict[str, list[float]] = {}
        self.jobs: list[tuple[str, tuple[str, ...], float]] = []
        self.wall = 0.0

    def stage(self, name: str, total: int) -> None:
        self.started = time.monotonic()

    def advanced(self, done: int) -> None: ...

    def job_started(self, job: Any) -> None:
        self.began[job.id] = time.monotonic()

    def job_progressed(self, job: Any, values: Mapping[str, Any]) -> None: ...

    def job_finished(self, job: Any) -> None:
        seconds = time.monotonic() - self.began[job.id]
        self.times.setdefault(job.id.partition("/")[0], []).append(round(seconds, 3))
        self.jobs.append((job.id, job.after, seconds))
        self.wall = time.monotonic() - self.started

    def job_failed(self, job: Any, reason: str) -> None:
        raise RuntimeError(reason)

    def warned(self, text: str) -> None: ...


def measure() -> None:
    """Run a small study on one worker and on two, keep the times, and hold the simulation against what both took."""
    import sslkit

    told: dict[str, Any] = {"study": f"{EXAMPLE.name}, {', '.join(SMALL)}", "runs": []}
    for workers in (1, 2):
        watch = _Watch()
        with tempfile.TemporaryDirectory() as folder:
            overrides = [*SMALL, f"compute.workers={workers}"]
            sslkit.run(EXAMPLE, Path(folder, "run"), overrides=overrides, observer=watch)
        tasks = [Task(name, seconds, after) for name, after, seconds in watch.jobs]
        run = {
            "workers": workers,
            "work": sum(task.seconds for task in tasks),
            "measured": watch.wall,
            "simulated": simulate(tasks, World(workers)),
        }
        told |= watch.times
        told["runs"].append({key: round(value, 1) for key, value in run.items()})
    TIMES.write_text(json.dumps(told) + "\n", encoding="utf-8")


@cache
def times() -> dict[str, Any]:
    """Return what was measured."""
    told: dict[str, Any] = json.loads(TIMES.read_text(encoding="utf-8"))
    return told


def written(page: str) -> str:
    """Return the page with its tables made anew."""
    first, rest = page.split(BEGIN, 1)
    _, last = rest.split(END, 1)
    tables = [f"{epochs} epochs:\n\n{table(times(), epochs)}" for epochs in EPOCHS]
    tables.append(f"The hours of other orders, 200 epochs:\n\n{orders(times())}")
    return "\n\n".join([f"{first}{BEGIN}", *tables, f"{END}{last}"])


def main() -> None:
    """Do as the command line says."""
    if sys.argv[1:] == ["measure"]:
        measure()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(times())


if __name__ == "__main__":
    main()
