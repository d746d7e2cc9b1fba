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
    """Return pretext task classes."""
    return ()


@hookspec
def sslkit_backbones() -> Iterable[type[Backbone[Any]]]:
    """Return backbone classes."""
    return ()


@hookspec
def sslkit_heads() -> Iterable[type[DownstreamHead[Any]]]:
    """Return downstream head classes."""
    return ()


@hookspec
def sslkit_datasets() -> Iterable[type[Dataset[Any]]]:
    """Return data set classes."""
    return ()


@hookspec
def sslkit_executors() -> Iterable[type[Executor[Any]]]:
    """Return executor classes."""
    return ()


@hookspec
def sslkit_on_request() -> str | None:
    """Keep the module's run hooks for runs that name it under ``observers``; return what it lacks, None for nothing."""


@hookspec
def sslkit_run_started(
    run_directory: Path,
    config: Mapping[str, Any],
    epochs: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
) -> None:
    """A run begins or goes on; ``epochs`` and ``results`` stand already, as the next two hooks would have told them."""


@hookspec
def sslkit_epoch_finished(job: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """An epoch of a pretraining has ended, with its mean loss and metrics."""


@hookspec
def sslkit_cell_finished(result: Mapping[str, Any]) -> None:
    """A cell has been evaluated; ``result`` is its row as plain values, before anything is fitted across folds."""


@hookspec
def sslkit_run_finished(
    run_directory: Path,
    summary: Iterable[Mapping[str, Any]],
    results: Iterable[Mapping[str, Any]],
    about: Mapping[str, Any],
) -> None:
    """A run has ended; the rows of summary.csv and results.csv, and run.json, as plain values."""
