"""The conformance kit: whether a plugin keeps the promises of its interface.

In a plugin's own tests:

    from sslkit.testing import parametrize_with_checks

    @parametrize_with_checks(MyTask)
    def test_my_task_keeps_its_promises(check):
        check()

On the command line: ``sslkit plugins check my-task``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslkit.testing.checks.catalogue import CHECKS, TAGS, Check
    from sslkit.testing.network import TinyNetwork
    from sslkit.testing.outcome import CheckFailed, CheckRecord
    from sslkit.testing.parametrization import parametrize_with_checks
    from sslkit.testing.running import check_plugin
    from sslkit.testing.subjects import (
        BackboneSubject,
        DatasetSubject,
        ExecutorSubject,
        HeadSubject,
        Options,
        PretextTaskSubject,
        Subject,
        make_subject,
    )

# Loaded when first used: each process in which an executor is tried imports a module of this package.
_HOMES = {
    "sslkit.testing.checks.catalogue": ("CHECKS", "TAGS", "Check"),
    "sslkit.testing.network": ("TinyNetwork",),
    "sslkit.testing.outcome": ("CheckFailed", "CheckRecord"),
    "sslkit.testing.parametrization": ("parametrize_with_checks",),
    "sslkit.testing.running": ("check_plugin",),
    "sslkit.testing.subjects": (
        "BackboneSubject",
        "DatasetSubject",
        "ExecutorSubject",
        "HeadSubject",
        "Options",
        "PretextTaskSubject",
        "Subject",
        "make_subject",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CHECKS",
    "TAGS",
    "BackboneSubject",
    "Check",
    "CheckFailed",
    "CheckRecord",
    "DatasetSubject",
    "ExecutorSubject",
    "HeadSubject",
    "Options",
    "PretextTaskSubject",
    "Subject",
    "TinyNetwork",
    "check_plugin",
    "make_subject",
    "parametrize_with_checks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sslkit.testing' has no attribute {name!r}")
    try:
        importlib.import_module("hypothesis")
    except ImportError as error:
        from sslkit.errors import UsageError

        raise UsageError(
            "the checks of plugins need hypothesis; install it by: pip install 'sslkit[testing]'"
        ) from error
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
