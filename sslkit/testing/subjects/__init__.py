"""What a check is given, one file a kind of plugin: a class, its options, and the ways to make and use one."""

from __future__ import annotations

from typing import Any

from sslkit.interfaces import Backbone, Dataset, DownstreamHead, Executor, Plugin, PretextTask
from sslkit.testing.subjects.backbone import BackboneSubject
from sslkit.testing.subjects.dataset import DatasetSubject
from sslkit.testing.subjects.executor import ExecutorSubject
from sslkit.testing.subjects.head import HeadSubject
from sslkit.testing.subjects.pretext_task import PretextTaskSubject
from sslkit.testing.subjects.subject import Options, Subject

__all__ = [
    "BackboneSubject",
    "DatasetSubject",
    "ExecutorSubject",
    "HeadSubject",
    "Options",
    "PretextTaskSubject",
    "Subject",
    "make_subject",
]

_SUBJECTS: dict[type[Plugin[Any]], type[Subject]] = {
    PretextTask: PretextTaskSubject,
    Backbone: BackboneSubject,
    DownstreamHead: HeadSubject,
    Dataset: DatasetSubject,
    Executor: ExecutorSubject,
}


def make_subject(cls: type[Plugin[Any]], options: Options | None = None) -> Subject:
    """Return what the checks of a plugin class are given.

    Raises:
        TypeError: if the class is of no kind of plugin.
    """
    for base, subject in _SUBJECTS.items():
        if isinstance(cls, type) and issubclass(cls, base):
            return subject(cls, options)
    kinds = ", ".join(f"sslkit.{base.__name__}" for base in _SUBJECTS)
    raise TypeError(f"{cls!r} is no plugin class; a plugin class inherits from one of {kinds}")
