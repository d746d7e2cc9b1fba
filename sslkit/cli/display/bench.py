"""What ``sslkit bench`` shows, and the estimates of other commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from sslkit.cli.display.console import line, make_console

if TYPE_CHECKING:
    from sslkit.experiment.bench import Bench


def show_bench(bench: Bench) -> None:
    """Print what was measured, and what a run will take."""
    console = make_console()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {"decoding": f"{bench.ingest['images_per_s']:,.1f} images/s"}
    if bench.pretraining:
        rows["pretraining"] = (
            f"{bench.pretraining['views_per_s']:,.1f} views/s, {bench.pretraining['data_time_share']:.1%} of the time "
            "for data"
        )
    rows["cells"] = f"{bench.cells['per_hour']:,.1f} an hour"
    rows["prediction"] = f"{bench.predict['images_per_s']:,.1f} images/s"
    rows["a whole run"] = estimate(bench)
    if bench.compiled:
        rows["compiled"] = _compiled(bench)
    for key, value in rows.items():
        table.add_row(key, line(value))
    console.print(table)


def show_estimate(bench: Bench) -> None:
    """Print what a run will take."""
    console = make_console()
    console.print(
        f"A run: {bench.estimate['pretrainings']:.0f} pretrainings and {bench.estimate['cells']:.0f} cells; "
        f"{estimate(bench)}."
    )


def _compiled(bench: Bench) -> str:
    before, after = bench.estimate["hours"], bench.compiled["hours"]
    gain = bench.compiled["views_per_s"] / bench.pretraining["views_per_s"]
    verdict = "it pays: set compute.compile = true" if after < 0.95 * before else "it does not pay in this run"
    return (
        f"pretraining at {gain:.2f} of its speed after {bench.compiled['startup_s']:.0f} s of compiling a job, "
        f"{_span(after)} for the whole run; {verdict}"
    )


def _span(hours: float) -> str:
    return f"{60 * hours:.1f} minutes" if hours < 1 else f"{hours:.1f} hours"


def estimate(bench: Bench) -> str:
    """Return in words how long a run takes, and how much room."""
    found = bench.estimate
    return (
        f"about {_span(found['hours'])} for {found['jobs']:.0f} jobs, {found['workers']:.0f} at a time, and "
        f"{found['disk_gib']:.2f} GiB of disk"
    )
