"""The toolkit's verbs as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslkit.config import RunConfig, load_config, parse_config
from sslkit.errors import UsageError
from sslkit.experiment.audit import Audit
from sslkit.experiment.bench import Bench, estimate_run, measure_run
from sslkit.experiment.dry_run import DryRun, plan_run
from sslkit.experiment.prediction import GradedImage, Predictor
from sslkit.experiment.run_result import RunResult
from sslkit.experiment.running import examine, execute_run
from sslkit.registry import Registry, build_registry
from sslkit.report import write_report

if TYPE_CHECKING:
    from sslkit.experiment.observation import RunObserver
    from sslkit.interfaces import Plugin

Plugins = Iterable["type[Plugin[Any]]"]
"""Plugin classes of the calling program itself."""

ConfigLike = RunConfig | Mapping[str, Any] | str | Path
"""A configuration: checked already, as plain tables, or a TOML file."""


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
    checked = _checked(config, overrides)
    result = execute_run(checked, _output(checked, output), _registry(registry, plugins), observer)
    write_report(result.directory.root)
    return result


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
    checked = _checked(config, overrides)
    return plan_run(checked, _output(checked, output), _registry(registry, plugins))


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
    return examine(_checked(config, overrides), _registry(registry, plugins), observer)


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
    return measure_run(_checked(config, overrides), _registry(registry, plugins), seconds, told, compiled=compiled)


def estimate(
    config: ConfigLike, *, overrides: Iterable[str] = (), registry: Registry | None = None, plugins: Plugins = ()
) -> Bench:
    """Return what [bench][sslkit.bench] last measured of a configuration on this machine, or measure it in haste.

    Raises:
        sslkit.errors.UsageError: if configuration or data cannot be used.
    """
    return estimate_run(_checked(config, overrides), _registry(registry, plugins))


def predict(
    run_directory: str | Path,
    images: Iterable[str | Path],
    *,
    arm: str | None = None,
    pretext: str | None = None,
    registry: Registry | None = None,
    plugins: Plugins = (),
) -> Iterator[GradedImage]:
    """Grade images with the models of a run, one a fold, averaged.

    Args:
        run_directory: a run that has finished.
        images: image files; one that cannot be read is answered with an error, and the rest are graded.
        arm: whose models; by default ``pretrained``.
        pretext: of which pretext task; needed only where the run has several.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.

    Raises:
        sslkit.errors.RunDirectoryError: if there is no such run, or it does not keep the arm's models.
    """
    predictor = Predictor.from_run(Path(run_directory), _registry(registry, plugins), arm, pretext)
    return predictor.predict(Path(path) for path in images)


def _checked(config: ConfigLike, overrides: Iterable[str]) -> RunConfig:
    if isinstance(config, str | Path):
        return load_config(Path(config), overrides)
    if isinstance(config, RunConfig):
        return parse_config(config.model_dump(mode="json"), root=config.root, overrides=overrides)
    return parse_config(config, root=Path.cwd(), overrides=overrides)


def _registry(registry: Registry | None, plugins: Plugins) -> Registry:
    if registry is None:
        return build_registry(extra=plugins)
    if plugins:
        raise UsageError("give either a registry or plugins; build_registry(extra=[...]) makes a registry with them")
    return registry


def _output(config: RunConfig, output: str | Path | None) -> Path:
    return Path("runs") / config.name if output is None else Path(output)
