"""One job on a node: the process that Ray gives it."""

from __future__ import annotations

import pickle
import platform
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import ray

from sslkit import Job, MovableJob, carry_out, versions
from sslkit_ray.processes import this_process
from sslkit_ray.site import Site

_FLUSH = 0.25
"""Seconds between two letters; one job may tell of a hundred updates a second."""

_PATIENCE = 30.0
"""Seconds after which a disk that a node does not see is waited for no more: some are mounted when asked for."""


def perform(order: Mapping[str, Any], postbox: Any) -> dict[str, Any]:
    """Carry out a job in this process.

    Args:
        order: the job, pickled, and what else there is to know: see ``Shift``.
        postbox: the actor that takes what the job tells.

    Returns:
        ``rest``: what it told last; ``files``: its results by name, where they do not stand by themselves; and one of
        ``done``; ``failed``, with the reason; ``stopped``; ``exited``, with a status, where the job ended its process;
        ``unfit``, with the reason, where no job can be carried out on this node.
    """
    if lacking := _unlike(order["versions"]):
        return {"unfit": lacking}
    try:
        job: Job = pickle.loads(order["job"])
    except ImportError as error:
        return {"unfit": f"the job needs a module that cannot be imported there: {error}"}
    if not order["parcels"] and (unseen := _unseen(job)):
        return {"unfit": _cannot_see(unseen)}
    node = ray.get_runtime_context().get_node_id()
    site = Site(order["site"], node) if order["parcels"] else None
    with Teller(postbox, order["sender"], node) as teller, site.desk() if site else nullcontext() as desk:
        if desk is not None and isinstance(job, MovableJob):
            job = job.moved(desk.receive(order["parcels"]["files"]), desk.images(order["parcels"]["images"]))
        outcome: dict[str, Any] = {}
        try:
            reason = carry_out(job, teller)
            outcome = {"done": True} if reason is None else {"failed": reason}
        except SystemExit as end:
            outcome = {"stopped": True} if teller.stopping else {"exited": end.code}
        if desk is not None and isinstance(job, MovableJob) and ("done" in outcome or "stopped" in outcome):
            outcome["files"] = desk.written(job.folder)
        return outcome | {"rest": teller.rest()}


class Teller:
    """Sends what a job tells in letters, and stops it between two updates once Ray has told this process to.

    Ray's cancellation is an interrupt of the main thread, which is left without effect but for a mark.
    """

    def __init__(self, postbox: Any, sender: str, node: str) -> None:
        self._postbox, self._sender = postbox, sender
        self._place: Mapping[str, Any] | None = {"node": node, "name": platform.node(), "process": this_process()}
        self._values: list[Mapping[str, Any]] = []
        self._sent: list[Any] = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self.stopping = False

    def __enter__(self) -> Teller:
        signal.signal(signal.SIGINT, self._stop)
        self._flush()  # the job has begun
        self._thread = threading.Thread(target=self._flush_now_and_then, name="teller", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def __call__(self, values: Mapping[str, Any]) -> None:
        """Take what the job tells.

        Raises:
            SystemExit: if the job is to stop, and is between two updates.
        """
        with self._lock:
            self._values.append(dict(values))
        if self.stopping and "done" in values:
            raise SystemExit(128 + signal.SIGTERM)

    def rest(self) -> list[Mapping[str, Any]]:
        """Return what no letter has brought yet, once all letters have arrived."""
        self._over.set()
        self._thread.join()
        ray.get(self._sent)
        return self._values

    def _flush_now_and_then(self) -> None:
        while not self._over.wait(_FLUSH):
            if self._values:
                self._flush()

    def _flush(self) -> None:
        with self._lock:
            values, self._values = self._values, []
        place, self._place = self._place, None
        self._sent = [*self._sent[-1:], self._postbox.post.remote((self._sender, values, place))]

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def _unlike(wanted: Mapping[str, str]) -> str | None:
    """Return how this node's packages differ from those of the run, whose results depend on them."""
    here = versions()
    different = [
        f"{name} {here[name]} where the run has {version}" for name, version in wanted.items() if here[name] != version
    ]
    return f"it has {', '.join(different)}; results depend on these" if different else None


def _unseen(job: Job) -> Path | None:
    if not isinstance(job, MovableJob):
        return None
    deadline = time.monotonic() + _PATIENCE
    while unseen := next((folder for folder in (job.run, *job.images) if not folder.is_dir()), None):
        if time.monotonic() > deadline:
            return unseen
        time.sleep(1)
    return None


def _cannot_see(folder: Path) -> str:
    return (
        f"it does not see {folder}; put the run directory and the cache of images ($SSLKIT_CACHE or images.cache) on a "
        'disk that all nodes see by the same path, or set executor.storage = "object-store"'
    )
