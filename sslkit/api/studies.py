"""A study from its configuration to its report: what is checked before, measured, and carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sslkit.api.given import ConfigLike, Plugins, checked, chosen_registry, output_of
from sslkit.experiment.audit import Audit
from sslkit.experiment.bench import Bench, estimate_run, measure_run
from sslkit.experiment.crew import crew
from sslkit.experiment.dry_run import DryRun, plan_run
from sslkit.experiment.ingest import Ingested, ingest_images
from sslkit.experiment.run_result import RunResult
from sslkit.experiment.running import examine, execute_run
from sslkit.finished_run import open_run
from sslkit.registry import Registry
from sslkit.report import write_report
from sslkit.torchrun import follows

if TYPE_CHECKING:
    from sslkit.experiment.observation import RunObserver


def run(
    config: ConfigLike,
    output: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
    observer: RunObserver | None = None,
) -> RunResult:
    """Carry out a run, or what is missing of it, and write its report.

    In a program that torchrun has started, the first process does so; the others take part in its pretrainings, and
    return once it has finished.

    Args:
        config: what to run.
        output: the run directory; by default ``runs/`` and the run's name.
        overrides: ``KEY=VALUE`` each.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.
        observer: hears of progress.

    Returns:
        Where the results are, the tables of results and summary, what they show, and what failed.

    Raises:
        sslkit.errors.UsageError: if configuration, data or directory cannot be used.
        sslkit.errors.JobError: if jobs failed; the others' results are kept and reported.
    """
    result = execute(config, output, overrides=overrides, registry=registry, plugins=plugins, observer=observer)
    result.raise_failures()
    return result


def execute(
    config: ConfigLike,
    output: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
    observer: RunObserver | None = None,
) -> RunResult:
    """Do as [run][sslkit.run] does, but return failures of jobs in place of raising them."""
    launched = crew()
    if launched is not None and follows():
        return open_run(launched.follow())
    finished: Path | None = None
    try:
        settings = checked(config, overrides)
        result = execute_run(settings, output_of(settings, output), chosen_registry(registry, plugins), observer)
        write_report(result.directory.root)
        finished = result.directory.root
        return result
    finally:
        if launched is not None:
            launched.dismiss(finished)


def plan(
    config: ConfigLike,
    output: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
) -> DryRun:
    """Check everything that a run would need, and say what it would do; nothing is computed or written.

    Raises:
        sslkit.errors.UsageError: if configuration, data or directory cannot be used.
    """
    settings = checked(config, overrides)
    return plan_run(settings, output_of(settings, output), chosen_registry(registry, plugins))


def doctor(
    config: ConfigLike,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
    observer: RunObserver | None = None,
) -> Audit:
    """Decode and audit the images of a configuration; nothing is trained, and nothing written but decoded images.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
    """
    return examine(checked(config, overrides), chosen_registry(registry, plugins), observer)


def ingest(
    config: ConfigLike,
    *,
    overrides: Iterable[str] = (),
    registry: Registry | None = None,
    plugins: Plugins = (),
    observer: RunObserver | None = None,
) -> Ingested:
    """Decode the images of a configuration into the cache, as a run begins by doing, and do nothing else.

    Several processes and machines that see the same cache may do so at once: each decodes a part.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
        sslkit.errors.RunError: if a process dies, or disk or storage cannot be written to.
    """
    return ingest_images(checked(config, overrides), chosen_registry(registry, plugins), observer)


def bench(
    config: ConfigLike,
    *,
    overrides: Iterable[str] = (),
    seconds: float = 10.0,
    registry: Registry | None = None,
    plugins: Plugins = (),
    told: Callable[[str], None] = lambda stage: None,
    compiled: bool = False,
) -> Bench:
    """Measure each stage of a run on this machine, through the code that the run uses, and estimate the whole.

    Args:
        config: what would be run.
        overrides: ``KEY=VALUE`` each.
        seconds: for each stage, about.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.
        told: called with the name of each stage as it begins.
        compiled: time pretraining under ``compute.compile`` as well, which takes minutes.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
    """
    return measure_run(checked(config, overrides), chosen_registry(registry, plugins), seconds, told, compiled=compiled)


def estimate(
    config: ConfigLike, *, overrides: Iterable[str] = (), registry: Registry | None = None, plugins: Plugins = ()
) -> Bench:
    """Return what [bench][sslkit.bench] last measured of a configuration on this machine, or measure it in haste.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
    """
    return estimate_run(checked(config, overrides), chosen_registry(registry, plugins))
