"""An observer of jobs that keeps what it hears."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sslkit import Job, JobObserver


class Heard(JobObserver):
    """Keeps what an executor tells, in its order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.reasons: dict[str, str] = {}
        self.progress: dict[str, list[dict[str, Any]]] = {}

    def started(self, job: Job) -> None:
        self.events.append(("started", job.id))

    def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        self.progress.setdefault(job.id, []).append(dict(values))

    def finished(self, job: Job) -> None:
        self.events.append(("finished", job.id))

    def failed(self, job: Job, reason: str) -> None:
        self.events.append(("failed", job.id))
        self.reasons[job.id] = reason

    def all(self, event: str) -> set[str]:
        return {name for kind, name in self.events if kind == event}
