"""MLflow: a run's configuration, curves and scores in an MLflow tracking store.

The store is ``$MLFLOW_TRACKING_URI``, or else the file ``mlflow.db`` in the run directory; the experiment is
``$MLFLOW_EXPERIMENT_NAME``, or else ``sslkit``. A run directory with its configuration is one MLflow run: calling the
command again goes on with it, and what it has is not logged again.

Scores come before anything is fitted across folds, and are preliminary until the run has ended.

| key | step | value |
|---|---|---|
| ``pretraining/rotation/0/loss`` | epoch | a metric of a pretraining |
| ``preliminary/rotation-pretrained/qwk/fold-0-repetition-0`` | labels | a score as it came |
| ``cells/rotation-pretrained/qwk/fold-0-repetition-0`` | labels | the same as in results.csv |
| ``qwk_mean/rotation-pretrained`` | labels, mean over folds | a column of summary.csv |
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sslkit
from sslkit import abbreviate, hookimpl
from sslkit.errors import StorageError

Row = Mapping[str, Any]
Points = dict[tuple[str, int], float]
"""Values by key and step."""

_PLACE = ("pretext", "arm", "fraction", "fold", "repetition", "labels", "test_images", "cell", "n", "undefined")
"""Columns of results.csv and summary.csv that are no scores."""

_NO_PARAMETERS = ("observers", "compute.workers", "compute.executor", "compute.checkpoint_seconds")
"""Keys that change no result, and may be others when the command is called again; parameters of MLflow never change."""

_MOST_METRICS, _MOST_PARAMETERS = 1000, 100
"""What MLflow takes at a time."""

_LONGEST_KEY, _LONGEST_PARAMETER, _LONGEST_TAG = 250, 500, 5000
"""Characters that a store of any version takes."""


class Track:
    """The MLflow run of a run directory and its configuration.

    Args:
        run_directory: where the run is.
        config: the run's configuration.
    """

    def __init__(self, run_directory: Path, config: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a run opens no connection that nobody asked for
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        self.file = None if uri else run_directory / "mlflow.db"
        self.client = MlflowClient(tracking_uri=uri or _local_uri(run_directory / "mlflow.db"))
        parameters = dict(_flatten(config))
        identity = json.dumps([str(run_directory), parameters], sort_keys=True)
        tags = {
            "sslkit.run_directory": str(run_directory)[:_LONGEST_TAG],
            "sslkit.identity": hashlib.sha256(identity.encode()).hexdigest(),
        }
        experiment = self._experiment(None if uri else (run_directory / "mlflow").as_uri())
        wanted = f"tags.`sslkit.identity` = '{tags['sslkit.identity']}'"
        found = self.client.search_runs([experiment], filter_string=wanted, max_results=1)
        run = found[0] if found else self.client.create_run(experiment, run_name=config["name"], tags=tags)
        self.run_id = run.info.run_id
        self._earlier = set(run.data.metrics)
        self._logged: dict[str, dict[int, float]] = {}
        self.client.set_tag(self.run_id, "sslkit.version", sslkit.__version__)
        if found:
            self.client.update_run(self.run_id, status="RUNNING")
        self._log_parameters({key: value for key, value in parameters.items() if key not in run.data.params})

    def knows(self, points: Points) -> bool:
        """Return whether the run has any of these points, be it with another value."""
        return any(step in self._steps(_key(name)) for name, step in points)

    def log(self, points: Points) -> None:
        """Log points, but for those that the run has."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = []
        for (name, step), value in points.items():
            steps = self._steps(key := _key(name))
            if steps.get(step) != value:
                steps[step] = value
                metrics.append(Metric(key, value, now, step))
        for start in range(0, len(metrics), _MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + _MOST_METRICS])

    def end(self, about: Mapping[str, Any]) -> None:
        """Describe what the run has come to, and end it."""
        said = [*about["notices"], *(conclusion["sentence"] for conclusion in about["conclusions"])]
        failed = [f"failed: {failure['job']}" for failure in about["failed_jobs"]]
        description = "\n".join(f"- {sentence}" for sentence in (*said, *failed))
        self.client.set_tag(self.run_id, "mlflow.note.content", description[:_LONGEST_TAG])
        self.client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

    def break_off(self) -> None:
        """Say that the run was interrupted, unless its store went away with its directory."""
        if self.file is None or self.file.exists():
            self.client.set_terminated(self.run_id, "KILLED")

    def _experiment(self, artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "sslkit"
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, artifact_location=artifacts))
            except MlflowException:
                found = self.client.get_experiment_by_name(name)
                if found is None:  # it was not that another run has made it meanwhile
                    raise
        return str(found.experiment_id)

    def _log_parameters(self, parameters: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        made = [Param(_key(name), value) for name, value in parameters.items()]
        for start in range(0, len(made), _MOST_PARAMETERS):
            self.client.log_batch(self.run_id, params=made[start : start + _MOST_PARAMETERS])

    def _steps(self, key: str) -> dict[int, float]:
        """Return the values that the run has of a key, by step."""
        if key not in self._logged:
            history = self.client.get_metric_history(self.run_id, key) if key in self._earlier else []
            ordered = sorted(history, key=lambda metric: metric.timestamp)
            self._logged[key] = {metric.step: metric.value for metric in ordered}
        return self._logged[key]


_track: Track | None = None


def _log(call: Callable[[Track], None]) -> None:
    """Log something; a store that fails is given up for the rest of the call, rather than waited for at each epoch."""
    global _track
    track, _track = _track, None
    if track is not None:
        call(track)
        _track = track


@atexit.register
def _break_off() -> None:
    global _track
    track, _track = _track, None
    if track is not None:
        track.break_off()


@hookimpl
def sslkit_on_request() -> str | None:
    """Say what to install where MLflow, or what it needs for its local store, is missing."""
    found = [find_spec(name) for name in ("mlflow", "sqlalchemy", "alembic")]  # a mere folder has no origin
    return None if all(spec and spec.origin for spec in found) else "pip install 'sslkit[mlflow]'"


@hookimpl
def sslkit_run_started(
    run_directory: Path, config: Mapping[str, Any], epochs: Iterable[Row], results: Iterable[Row]
) -> None:
    """Begin an MLflow run, or go on with that of earlier calls, and log what it lacks of what they have left."""
    global _track
    _break_off()  # a run in this process that was interrupted has left it open
    _track = Track(run_directory, config)

    def begin(track: Track) -> None:
        for epoch in epochs:
            track.log(_epoch_points(**epoch))
        for row in results:  # by now they may have been fitted across folds
            if not track.knows(points := _cell_points("preliminary", [row])):
                track.log(points)

    _log(begin)


@hookimpl
def sslkit_epoch_finished(job: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """Log the epoch's metrics."""
    _log(lambda track: track.log(_epoch_points(job, epoch, metrics)))


@hookimpl
def sslkit_cell_finished(result: Row) -> None:
    """Log the cell's scores."""
    _log(lambda track: track.log(_cell_points("preliminary", [result])))


@hookimpl
def sslkit_run_finished(summary: Iterable[Row], results: Iterable[Row], about: Mapping[str, Any]) -> None:
    """Log the final scores, and end the MLflow run."""
    global _track

    def finish(track: Track) -> None:
        track.log(_cell_points("cells", results) | _summary_points(summary))
        track.end(about)

    _log(finish)
    _track = None


def _epoch_points(job: str, epoch: int, metrics: Mapping[str, float]) -> Points:
    return {(f"{job}/{name.replace('/', '_')}", epoch): value for name, value in metrics.items()}


def _cell_points(group: str, rows: Iterable[Row]) -> Points:
    return {
        (f"{group}/{_line(row)}/{name}/fold-{row['fold']}-repetition-{row['repetition']}", row["labels"]): value
        for row in rows
        for name, value in _scores(row).items()
    }


def _summary_points(rows: Iterable[Row]) -> Points:
    return {
        (f"{name}/{_line(row)}", round(row["labels"])): value for row in rows for name, value in _scores(row).items()
    }


def _line(row: Row) -> str:
    """Return which curve a row belongs to: its pretext task, if it has one, and its arm."""
    return "-".join(filter(None, (row["pretext"], row["arm"])))


def _scores(row: Row) -> dict[str, float]:
    """Return the scores of a row that are defined."""
    return {name: value for name, value in row.items() if name not in _PLACE and isinstance(value, int | float)}


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the keys of a configuration as dotted paths, and their values as texts of a length that MLflow takes."""
    for key, value in table.items():
        path = f"{prefix}{key}"
        if path in _NO_PARAMETERS:
            continue
        tables = [value] if isinstance(value, Mapping) else value
        if isinstance(tables, list) and tables and all(isinstance(item, Mapping) for item in tables):
            for number, item in enumerate(tables):
                yield from _flatten(item, f"{path}." if len(tables) == 1 else f"{path}.{number}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield path, abbreviate(text, _LONGEST_PARAMETER)[:_LONGEST_PARAMETER]


def _key(name: str) -> str:
    """Return a name of those characters alone that MLflow takes."""
    return re.sub(r"[^\w./: -]", "_", name, flags=re.ASCII)[:_LONGEST_KEY]


def _local_uri(file: Path) -> str:
    """Return the URI of an SQLite store.

    Raises:
        StorageError: if its path cannot stand in one.
    """
    if any(character in str(file) for character in "?#%"):
        raise StorageError(
            f"MLflow cannot keep its store at {file}: ?, # or % is in the path; set $MLFLOW_TRACKING_URI"
        )
    return f"sqlite:///{file}"
