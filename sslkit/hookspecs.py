"""The hooks that a plugin module may implement, announced by an entry point of the group ``sslkit``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from sslkit.interfaces import Backbone, Dataset, DownstreamHead, Executor, PretextTask

hookspec = pluggy.HookspecMarker("sslkit")
hookimpl = pluggy.HookimplMarker("sslkit")
"""Marks a function of a plugin module as the implementation of the hook that it is named after."""


@hookspec
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    """Return [pretext task](plugins.md#pretext-tasks) classes."""
    return ()


@hookspec
def sslkit_backbones() -> Iterable[type[Backbone[Any]]]:
    """Return [backbone](plugins.md#backbones) classes."""
    return ()


@hookspec
def sslkit_heads() -> Iterable[type[DownstreamHead[Any]]]:
    """Return [downstream head](plugins.md#downstream-heads) classes."""
    return ()


@hookspec
def sslkit_datasets() -> Iterable[type[Dataset[Any]]]:
    """Return [data set](plugins.md#data-sets) classes."""
    return ()


@hookspec
def sslkit_executors() -> Iterable[type[Executor[Any]]]:
    """Return [executor](plugins.md#executors) classes."""
    return ()


@hookspec
def sslkit_on_request() -> str | None:
    """Keep the module's run hooks for runs that ask for them.

    A module's run hooks are called for every run. With this hook they are called only for runs whose configuration
    names the module's entry point under [``observers``](configuration.md#above-all-tables). It is called at discovery,
    and imports nothing heavy: ``importlib.util.find_spec`` tells whether a package is there.

    Returns:
        None; or what keeps the observer from working and how to mend that (``pip install 'sslkit[mlflow]'``), which
        ``sslkit plugins list`` shows, and for which a run that names it is refused.
    """


@hookspec
def sslkit_run_started(
    run_directory: Path,
    config: Mapping[str, Any],
    epochs: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
) -> None:
    """A run begins, or goes on.

    What earlier calls of the command have left, no other hook tells again, but for epochs after the last checkpoint of
    a pretraining that was interrupted.

    Args:
        run_directory: an absolute path.
        config: the whole configuration as plain values, every default in it.
        epochs: what earlier calls have left: of each epoch a mapping of ``job``, ``epoch`` and ``metrics``.
        results: what they have left: of each cell its row.
    """


@hookspec
def sslkit_epoch_finished(job: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """An epoch of a pretraining has ended.

    Args:
        job: the pretraining's id, such as ``pretraining/rotation/0``.
        epoch: counts from 1.
        metrics: the mean loss and the means of the task's own metrics, those that are finite; and, in epochs in which
            they were measured, ``probe_qwk``, ``feature_spread`` and ``effective_rank``.
    """


@hookspec
def sslkit_cell_finished(result: Mapping[str, Any]) -> None:
    """A cell has been evaluated, and nothing is fitted across folds yet.

    Args:
        result: the cell's row of [results.csv](report.md#resultscsv) as plain values, None where a score is undefined.
    """


@hookspec
def sslkit_run_finished(
    run_directory: Path,
    summary: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """A run has ended, with failed jobs or without; one that is interrupted never calls it.

    Args:
        run_directory: an absolute path.
        summary: the rows of [summary.csv](report.md#summarycsv) as plain values.
        results: the rows of [results.csv](report.md#resultscsv), with all that was fitted across folds.
        about: [run.json](report.md#runjson), with its conclusions, notices and failed jobs.
    """
