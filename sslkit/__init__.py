"""Self-supervised learning for images whose labels are scarce: what is pretraining worth, in labels?

The public names below are loaded when first used, so that ``import sslkit`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslkit.api import bench, doctor, embed, export, ingest, load_backbone, plan, predict, run
    from sslkit.config.base import ConfigPath, PluginConfig
    from sslkit.config.loading import load_config, parse_config
    from sslkit.config.location import Location, StorageOptions
    from sslkit.config.schema import PluginTable, RunConfig
    from sslkit.data.columns import row_word
    from sslkit.data.groups import GroupPattern, groups_in_names
    from sslkit.data.lab import grey_of, lab_of, srgb_of
    from sslkit.data.normalization import normalize
    from sslkit.data.preprocessing import Preprocessing
    from sslkit.data.squares import cut_squares, inscribed_square, squares_in_mask
    from sslkit.data.tables import read_table
    from sslkit.data.views import ViewsConfig, augmented_views
    from sslkit.engine.decoder import MapDecoder
    from sslkit.engine.distributed import gather, weighted_mean
    from sslkit.engine.feature_maps import feature_map, feature_map_shape, why_no_feature_map
    from sslkit.engine.momentum import follow, momentum_copy, rising_momentum
    from sslkit.engine.networks import representation
    from sslkit.engine.projection import make_projector, projection_spread
    from sslkit.engine.tokens import TokenBackbone, token_backbone
    from sslkit.engine.weights import load_timm_weights, load_weights
    from sslkit.experiment.audit import Audit
    from sslkit.experiment.bench import Bench
    from sslkit.experiment.dry_run import DryRun
    from sslkit.experiment.embedding import Embedding
    from sslkit.experiment.exporting import Exported
    from sslkit.experiment.forecast import Forecast, OnWorkers, Wave
    from sslkit.experiment.graded import GradedImage
    from sslkit.experiment.ingest import Ingested
    from sslkit.experiment.memory import free_memory
    from sslkit.experiment.observation import PlannedJobs, PlanObserver, RunObserver, ScoreObserver
    from sslkit.experiment.recipe import versions
    from sslkit.experiment.run_result import RunResult
    from sslkit.experiment.table import Table
    from sslkit.files import open_file, read_file
    from sslkit.finished_run import open_run
    from sslkit.hookspecs import hookimpl
    from sslkit.interfaces import (
        API_VERSION,
        NOT_RUN,
        Backbone,
        Dataset,
        DownstreamHead,
        Executor,
        Job,
        JobObserver,
        JobQueue,
        MovableJob,
        Plugin,
        PretextTask,
        Reporter,
        carry_out,
        longest_first,
        receive_results,
    )
    from sslkit.metrics import quadratic_weighted_kappa
    from sslkit.printable import abbreviate, listed, printable, shown
    from sslkit.processes import follow_parent, stops_held
    from sslkit.registry import build_registry
    from sslkit.report import compare_runs, write_report
    from sslkit.storage import StorageURL, StoredFolders, StoredObject, list_objects
    from sslkit.types import Prediction, Record, StepOutput, TaskContext, TaskPart, Views

__version__ = "0.1.0"

_HOMES = {
    "sslkit.api": ("bench", "doctor", "embed", "export", "ingest", "load_backbone", "plan", "predict", "run"),
    "sslkit.config.base": ("ConfigPath", "PluginConfig"),
    "sslkit.config.loading": ("load_config", "parse_config"),
    "sslkit.config.location": ("Location", "StorageOptions"),
    "sslkit.config.schema": ("PluginTable", "RunConfig"),
    "sslkit.data.columns": ("row_word",),
    "sslkit.data.groups": ("GroupPattern", "groups_in_names"),
    "sslkit.data.lab": ("grey_of", "lab_of", "srgb_of"),
    "sslkit.data.normalization": ("normalize",),
    "sslkit.data.preprocessing": ("Preprocessing",),
    "sslkit.data.squares": ("cut_squares", "inscribed_square", "squares_in_mask"),
    "sslkit.data.tables": ("read_table",),
    "sslkit.data.views": ("ViewsConfig", "augmented_views"),
    "sslkit.engine.decoder": ("MapDecoder",),
    "sslkit.engine.distributed": ("gather", "weighted_mean"),
    "sslkit.engine.feature_maps": ("feature_map", "feature_map_shape", "why_no_feature_map"),
    "sslkit.engine.momentum": ("follow", "momentum_copy", "rising_momentum"),
    "sslkit.engine.networks": ("representation",),
    "sslkit.engine.projection": ("make_projector", "projection_spread"),
    "sslkit.engine.tokens": ("TokenBackbone", "token_backbone"),
    "sslkit.engine.weights": ("load_timm_weights", "load_weights"),
    "sslkit.experiment.audit": ("Audit",),
    "sslkit.experiment.bench": ("Bench",),
    "sslkit.experiment.dry_run": ("DryRun",),
    "sslkit.experiment.embedding": ("Embedding",),
    "sslkit.experiment.exporting": ("Exported",),
    "sslkit.experiment.forecast": ("Forecast", "OnWorkers", "Wave"),
    "sslkit.experiment.graded": ("GradedImage",),
    "sslkit.experiment.ingest": ("Ingested",),
    "sslkit.experiment.memory": ("free_memory",),
    "sslkit.experiment.observation": ("PlanObserver", "PlannedJobs", "RunObserver", "ScoreObserver"),
    "sslkit.experiment.recipe": ("versions",),
    "sslkit.experiment.run_result": ("RunResult",),
    "sslkit.experiment.table": ("Table",),
    "sslkit.files": ("open_file", "read_file"),
    "sslkit.finished_run": ("open_run",),
    "sslkit.hookspecs": ("hookimpl",),
    "sslkit.interfaces": (
        "API_VERSION",
        "NOT_RUN",
        "Backbone",
        "Dataset",
        "DownstreamHead",
        "Executor",
        "Job",
        "JobObserver",
        "JobQueue",
        "MovableJob",
        "Plugin",
        "PretextTask",
        "Reporter",
        "carry_out",
        "longest_first",
        "receive_results",
    ),
    "sslkit.metrics": ("quadratic_weighted_kappa",),
    "sslkit.printable": ("abbreviate", "listed", "printable", "shown"),
    "sslkit.processes": ("follow_parent", "stops_held"),
    "sslkit.registry": ("build_registry",),
    "sslkit.report": ("compare_runs", "write_report"),
    "sslkit.storage": ("StorageURL", "StoredFolders", "StoredObject", "list_objects"),
    "sslkit.types": ("Prediction", "Record", "StepOutput", "TaskContext", "TaskPart", "Views"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

_RENAMED: dict[str, str] = {}
"""What public names were called before; they still work, with a warning."""

__all__ = [
    "API_VERSION",
    "NOT_RUN",
    "Audit",
    "Backbone",
    "Bench",
    "ConfigPath",
    "Dataset",
    "DownstreamHead",
    "DryRun",
    "Embedding",
    "Executor",
    "Exported",
    "Forecast",
    "GradedImage",
    "GroupPattern",
    "Ingested",
    "Job",
    "JobObserver",
    "JobQueue",
    "Location",
    "MapDecoder",
    "MovableJob",
    "OnWorkers",
    "PlanObserver",
    "PlannedJobs",
    "Plugin",
    "PluginConfig",
    "PluginTable",
    "Prediction",
    "Preprocessing",
    "PretextTask",
    "Record",
    "Reporter",
    "RunConfig",
    "RunObserver",
    "RunResult",
    "ScoreObserver",
    "StepOutput",
    "StorageOptions",
    "StorageURL",
    "StoredFolders",
    "StoredObject",
    "Table",
    "TaskContext",
    "TaskPart",
    "TokenBackbone",
    "Views",
    "ViewsConfig",
    "Wave",
    "__version__",
    "abbreviate",
    "augmented_views",
    "bench",
    "build_registry",
    "carry_out",
    "compare_runs",
    "cut_squares",
    "doctor",
    "embed",
    "export",
    "feature_map",
    "feature_map_shape",
    "follow",
    "follow_parent",
    "free_memory",
    "gather",
    "grey_of",
    "groups_in_names",
    "hookimpl",
    "ingest",
    "inscribed_square",
    "lab_of",
    "list_objects",
    "listed",
    "load_backbone",
    "load_config",
    "load_timm_weights",
    "load_weights",
    "longest_first",
    "make_projector",
    "momentum_copy",
    "normalize",
    "open_file",
    "open_run",
    "parse_config",
    "plan",
    "predict",
    "printable",
    "projection_spread",
    "quadratic_weighted_kappa",
    "read_file",
    "read_table",
    "receive_results",
    "representation",
    "rising_momentum",
    "row_word",
    "run",
    "shown",
    "squares_in_mask",
    "srgb_of",
    "stops_held",
    "token_backbone",
    "versions",
    "weighted_mean",
    "why_no_feature_map",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        return _renamed(name)
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sslkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def _renamed(name: str) -> Any:
    import warnings

    from sslkit.errors import SslkitDeprecationWarning

    now = _RENAMED[name]
    message = f"sslkit.{name} is called sslkit.{now}; the old name goes in a later release"
    warnings.warn(message, SslkitDeprecationWarning, stacklevel=3)
    return __getattr__(now)


def __dir__() -> list[str]:
    return sorted(__all__)
