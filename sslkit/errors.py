"""Every error that sslkit raises on purpose, in one tree.

    SslkitError
    ├── UsageError                 wrong use or a wrong configuration; exit status 2
    │   ├── ConfigError            a key, type or value of the configuration
    │   ├── PluginError            an unknown, ambiguous or broken plugin
    │   ├── DataError              images, tables, labels and groups
    │   └── RunDirectoryError      an output directory that cannot be used
    └── RunError                   a run that was under way; exit status 1
        ├── JobError               one or more jobs failed
        ├── TrainingDivergedError  a loss, weights or an output that are not finite
        ├── StorageError           a disk that is full, a folder that was taken away
        └── WeightsError           weights that do not fit their network

    SslkitDeprecationWarning       a warning: something still works, and will not in a later release

A message says what was given, what is accepted, the nearest match, and what to do.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Self

from sslkit.printable import shown


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
    """A loss, weights or what a network puts out are no longer finite."""


class StorageError(RunError):
    """A file could not be written: the disk is full, or the folder read-only or gone."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> Self:
        """Return the error that tells of a file, or of something below a folder, why it was not written."""
        advice = {
            errno.ENOSPC: "free some space.",
            errno.EDQUOT: "free some space, or have the quota raised.",
            errno.EFBIG: "raise the limit on the size of a file (ulimit -f).",
            errno.ENOENT: "its folder is not there; was it taken away?",
            errno.ENOTDIR: "what should be its folder is a file.",
        }.get(error.errno or 0, "make it writable.")
        return cls(f"cannot write {path}: {error.strerror or error}; {advice} Then run the same command again")


class WeightsError(RunError):
    """Weights do not fit the network that they were meant for."""


class SslkitDeprecationWarning(DeprecationWarning):
    """What was called still works and will not in a later release; the message says what to call in its place."""


def did_you_mean(given: str, accepted: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest accepted word, or an empty string.

    Example:
        >>> did_you_mean("rotatoin", ["jigsaw", "rotation"])
        "; did you mean 'rotation'?"
    """
    nearest = difflib.get_close_matches(given, list(accepted), n=1, cutoff=0.6)
    return f"; did you mean {shown(nearest[0])}?" if nearest else ""
