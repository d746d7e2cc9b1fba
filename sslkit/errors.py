"""Every error that sslkit raises on purpose, in one tree.

    SslkitError
    ├── UsageError                 wrong use or a wrong configuration; exit status 2
    │   ├── ConfigError            a key, type or value of the configuration
    │   ├── PluginError            an unknown, ambiguous or broken plugin
    │   ├── DataError              images, tables, labels and groups
    │   └── RunDirectoryError      an output directory that cannot be used
    └── RunError                   a run that was under way; exit status 1
        ├── JobError               one or more jobs failed
        ├── TrainingDivergedError  a loss that is not finite
        └── WeightsError           weights that do not fit their network

A message says what was given, what is accepted, the nearest match, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class SslkitError(Exception):
    """The root of the tree; ``exit_status`` is what the command line returns."""

    exit_status: ClassVar[int] = 1


class UsageError(SslkitError):
    """The toolkit was used wrongly: nothing was computed, nothing was overwritten."""

    exit_status: ClassVar[int] = 2


class ConfigError(UsageError):
    """A key, type or value of the configuration is wrong."""


class PluginError(UsageError):
    """A plugin is unknown, ambiguous or broken."""


class DataError(UsageError):
    """Images, tables, labels or groups cannot be used as they are."""


class RunDirectoryError(UsageError):
    """An output directory is missing, incomplete or belongs to another configuration."""


class RunError(SslkitError):
    """A run failed while it was under way."""


class JobError(RunError):
    """One or more jobs of a run failed; the others are kept."""


class TrainingDivergedError(RunError):
    """A training loss is no longer finite."""


class WeightsError(RunError):
    """Weights do not fit the network that they were meant for."""


def did_you_mean(given: str, accepted: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest accepted word, or an empty string.

    Example:
        >>> did_you_mean("rotatoin", ["jigsaw", "rotation"])
        "; did you mean 'rotation'?"
    """
    nearest = difflib.get_close_matches(given, list(accepted), n=1, cutoff=0.6)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
