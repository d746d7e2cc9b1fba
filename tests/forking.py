"""The server that tests fork their processes from."""

from __future__ import annotations

from multiprocessing.context import BaseContext

from sslkit.experiment.environment import process_context


def warm_context() -> BaseContext:
    """Return a context whose processes have torch and the plugins of ``studies`` loaded, whichever test comes first."""
    return process_context(["sslkit_dr", "sslkit_fundus", "sslkit_local", "sslkit_rotation", "sslkit_timm"])
