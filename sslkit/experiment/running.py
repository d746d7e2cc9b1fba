"""A run from beginning to end; what is done already is not done again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sslkit.blame import blame
from sslkit.checksums import SUMS, file_digest, flaws, read_sums, seal, successor
from sslkit.config import RunConfig, to_toml
from sslkit.engine.precision import Compute
from sslkit.experiment.audit import Audit
from sslkit.experiment.bench import job_seconds, known_peak
from sslkit.experiment.cell import CellJob
from sslkit.experiment.collapse import collapse_notices
from sslkit.experiment.conclusions import conclude
from sslkit.experiment.crew import crew
from sslkit.experiment.cross_fitting import cross_fit
from sslkit.experiment.environment import num_decoders, process_context
from sslkit.experiment.epoch_log import read_epochs
from sslkit.experiment.memory import workers_that_fit
from sslkit.experiment.observation import Hooks, JobRelay, PlannedJobs, RunObserver, Silent, describe_job
from sslkit.experiment.pictures import make_pictures
from sslkit.experiment.plan import draw_splits, make_manifest
from sslkit.experiment.preparation import Prepared, describe, prepare
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.results import Row, read_results, result_columns, summary_columns, write_results
from sslkit.experiment.run_directory import SETTLED, RunDirectory, check_directory, locate
from sslkit.experiment.run_lock import locked
from sslkit.experiment.run_result import RunResult
from sslkit.experiment.sentences import sentences
from sslkit.experiment.study import Study, resolve
from sslkit.experiment.table import Table
from sslkit.files import remove_parts, write_json, write_text
from sslkit.interfaces import Job
from sslkit.registry import Registry

_PLACE = ("pretext", "arm", "fraction", "fold", "repetition")
"""What tells a reader which cell it is that failed."""


def execute_run(config: RunConfig, output: Path, registry: Registry, observer: RunObserver | None = None) -> RunResult:
    """Carry out a run, or what is missing of it.

    Args:
        config: what to run.
        output: the run directory; made where it is missing.
        registry: the installed plugins.
        observer: hears of progress.

    Raises:
        UsageError: if configuration, data or directory cannot be used; nothing has been overwritten then.
        RunError: if images could not be decoded for want of memory, or files could not be written.
    """
    observer = observer or Silent()
    study = resolve(config, registry)
    directory = locate(output)
    check_directory(directory, study.resolved())
    with locked(directory) as directory:
        check_directory(directory, study.resolved())  # as the run left it that was there before the lock
        remove_parts(directory.root)
        return _execute(study, directory, registry, observer)


def _execute(study: Study, directory: RunDirectory, registry: Registry, observer: RunObserver) -> RunResult:
    clock, relay = _Clock(), JobRelay(observer, Hooks(registry, study.config.observers), directory)
    if directory.config.is_file() or (directory.root / SUMS).exists():
        for flaw in flaws(directory.root):
            relay.warn(f"{directory.root}: {flaw}; it is written anew")
    compute, prepared = _prepare(study, directory, observer, relay.warn)
    clock.lap("ingest")

    directory.require()
    about = describe(study, prepared, compute)
    sessions = _earlier_sessions(directory, relay)
    _write_plan(study, directory, prepared, about, sessions)
    epochs = [epoch for job in prepared.jobs.pretrainings for epoch in read_epochs(job.log, job.id)]
    done = read_results(prepared.jobs.cells)
    relay.hooks.run_started(directory.root, study.resolved(), epochs, done)
    num_jobs = _run_jobs(study, prepared, compute, done, relay)
    clock.lap("jobs")
    relay.refuse_changed(prepared.jobs.cells)

    directory.require()
    cross_fit(study, prepared.jobs.cells)
    rows = read_results(prepared.jobs.cells)
    summary = write_results(directory, rows, study.make_head().num_classes)
    make_pictures(study, directory, prepared.jobs, relay.warn)
    sessions.append(
        {
            "started": _iso(clock.started),
            "finished": _iso(datetime.now(UTC)),
            "jobs": num_jobs,
            "timings": clock.laps(),
            "warnings": relay.warnings,
            "hardware": about["hardware"],
        }
    )
    about |= {
        "started": sessions[0]["started"],
        "finished": sessions[-1]["finished"],
        "timings": _sum(session["timings"] for session in sessions),
        "sessions": sessions,
        "notices": [*about["notices"], *_collapses(prepared.jobs.pretrainings)],
        "conclusions": conclude(summary, rows),
        "failed_jobs": [_failure(job, reason) for job, reason in relay.failures],
    }
    write_json(successor(directory.run), about)
    seal(directory.root, SETTLED)
    relay.hooks.run_finished(directory.root, summary, rows, about)
    told = sentences(about["conclusions"])
    failures = [(describe_job(job), reason) for job, reason in relay.failures]
    tables = Table(summary, summary_columns(rows)), Table(rows, result_columns(rows))
    return RunResult(RunDirectory(directory.root), tables[0], told, about["notices"], failures, tables[1])


def _write_plan(
    study: Study,
    directory: RunDirectory,
    prepared: Prepared,
    about: dict[str, Any],
    sessions: Sequence[Mapping[str, Any]],
) -> None:
    """Write what is known before the first job; ``about`` is told the digest of the splits."""
    shares = study.config.evaluation.label_fractions
    splits = prepared.splits.to_json([record.id for record in prepared.manifest.records], shares)
    write_text(successor(directory.config), to_toml(study.resolved()))
    write_json(successor(directory.splits), splits)
    prepared.audit.write(successor(directory.audit))
    about["data"]["splits_hash"] = file_digest(successor(directory.splits))
    write_json(successor(directory.run), {**about, "sessions": sessions})
    seal(directory.root, [path.name for path in (directory.config, directory.splits, directory.audit, directory.run)])


def _run_jobs(study: Study, prepared: Prepared, compute: Compute, done: Sequence[Row], relay: JobRelay) -> int:
    """Carry out the jobs that are missing, those whose files were damaged among them; return their number."""
    jobs = prepared.jobs.missing()
    for job, flaw in prepared.jobs.flaws():
        relay.warn(f"{describe_job(job)}: {flaw}; it is done anew")
    executor = study.executor.make()
    asked = study.config.compute.workers
    if asked == "auto" and jobs:
        with blame(executor.provenance, "default_workers()", contract=(OSError,)):
            asked = executor.default_workers(compute.device) or asked
    peak = known_peak(study, compute, prepared.jobs.pretrainings)
    workers, too_large = workers_that_fit(asked, compute, peak)
    if too_large and any(isinstance(job, PretrainingJob) for job in jobs):
        relay.warn(too_large)
    relay.planned(PlannedJobs(jobs, done, workers, study.make_head().primary_metric, job_seconds(study, compute, jobs)))
    relay.observer.stage("jobs", len(jobs))
    launched = crew()
    left = jobs if launched is None else launched.carry_out(jobs, compute, relay)
    with blame(executor.provenance, "run()", contract=(OSError,)):
        executor.run(left, workers, relay)
    relay.give_up(jobs, f"{executor.provenance.described} left it undone and did not say why")
    return len(jobs)


def _failure(job: Job, reason: str) -> dict[str, Any]:
    """Return what run.json says of a job that failed."""
    place = {key: job.coordinates[key] for key in _PLACE} if isinstance(job, CellJob) else {}
    return {"job": job.id, "reason": reason, **place}


def examine(config: RunConfig, registry: Registry, observer: RunObserver | None = None) -> Audit:
    """Decode and audit the images of a configuration, as a run begins by doing.

    Raises:
        UsageError: if configuration or data cannot be used.
    """
    study = resolve(config, registry)
    observer = observer or Silent()
    return _prepare(study, RunDirectory(Path(config.name)), observer, observer.warned)[1].audit


def _prepare(
    study: Study, directory: RunDirectory, observer: RunObserver, warn: Callable[[str], None]
) -> tuple[Compute, Prepared]:
    for text in study.deprecations():
        warn(text)
    compute = study.resolve_compute()
    manifest = make_manifest(study)
    draw_splits(study, manifest)  # too few groups are said before any image is decoded
    observer.stage("ingest", len(manifest))
    decoders = num_decoders(study.config.compute.workers)
    context = process_context(study.modules())
    return compute, prepare(study, directory, compute, manifest, decoders, context, observer, warn)


def _collapses(pretrainings: Iterable[PretrainingJob]) -> list[str]:
    return collapse_notices((job.task.info.name, job.folder) for job in pretrainings if job.done)


def _earlier_sessions(directory: RunDirectory, relay: JobRelay) -> list[dict[str, Any]]:
    """Return what run.json says of earlier calls of the same command; nothing where it is damaged."""
    sealed = directory.run.name in read_sums(directory.root)
    if not directory.run.is_file() or (sealed and flaws(directory.root, [directory.run.name])):
        return []
    try:
        sessions: list[dict[str, Any]] = json.loads(directory.run.read_text(encoding="utf-8"))["sessions"]
        _sum(session["timings"] for session in sessions)
        return [{**session, "started": str(session["started"])} for session in sessions]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):  # sealed by somebody else, or by nobody
        relay.warn(f"{directory.run} is damaged; it is written anew, without the times of earlier calls")
        return []


def _sum(timings: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for laps in timings:
        for name, seconds in laps.items():
            total[name] = round(total.get(name, 0.0) + seconds, 2)
    return total


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self._first = self._last = time.monotonic()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._laps[name] = round(now - self._last, 2)
        self._last = now

    def laps(self) -> dict[str, float]:
        return {**self._laps, "total": round(time.monotonic() - self._first, 2)}
