"""One try of a job, as the driver sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sslkit import Job


@dataclass(eq=False)
class Try:
    """One try of a job.

    Attributes:
        job: the job.
        sender: what its letters are signed with.
        ref: Ray's reference to its outcome.
        request: what it asks of a node.
        heard: when it last told of anything, or was handed over.
        place: where it runs, once it has begun.
    """

    job: Job
    sender: str
    ref: Any
    request: Mapping[str, float]
    heard: float = field(default_factory=time.monotonic)
    place: Mapping[str, Any] | None = None

    @property
    def where(self) -> str:
        """The node, for people."""
        return "its node" if self.place is None else f"the node {self.place['name']} ({self.place['node'][:8]})"
