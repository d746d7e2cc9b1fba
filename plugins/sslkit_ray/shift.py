"""The jobs of a run on their way through a cluster."""

from __future__ import annotations

import pickle
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from sslkit import Job, JobObserver, JobQueue, MovableJob, receive_results, versions
from sslkit.errors import RunError, StorageError
from sslkit_ray.begin import make_begin
from sslkit_ray.cluster import Cluster
from sslkit_ray.parcels import Dispatch
from sslkit_ray.postbox import Letter, open_postbox
from sslkit_ray.processes import Process
from sslkit_ray.site import tidy_node
from sslkit_ray.tries import Try

_SILENCE = 600.0
"""Seconds after which a job that tells nothing is spoken of, and again after each such span."""

_GRACE = 10.0
"""Seconds that jobs may take to come to a safe point once the run is being stopped."""

_FORCE = 5.0
"""Seconds that Ray may take to end processes by force."""

_TIDY = 20.0
"""Seconds that nodes may take to tidy up: each starts a process for it."""

_LOOK = 5.0
"""Seconds between two looks at what waits, where nothing else happens."""

_ADVICE = "Run the same command again, with executor.memory set to the GiB that a job needs if memory is short."


class Shift:
    """Hands jobs to Ray as room is made, passes on what they tell, and settles what has become of them."""

    def __init__(self, cluster: Cluster, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        import ray

        self.cluster, self.config, self.workers, self.observer = cluster, cluster.config, workers, observer
        self.queue = JobQueue(jobs, observer)
        self.tries: dict[str, Try] = {}
        self._node_failures: dict[str, int] = {}
        self._wanting: dict[str, float] = {}  # jobs that no node has room for, and since when
        self._used: dict[str, list[Process]] = {}  # by node, the processes that have been at work there
        self._dispatch = Dispatch() if self.config.storage == "object-store" else None
        self._site = {"scratch": self.config.scratch, "run": secrets.token_hex(8)}
        self._versions = versions()
        self._begin = ray.remote(max_calls=1, max_retries=0)(make_begin())
        self._postbox = open_postbox()
        self._news = self._postbox.fetch.remote()

    def work(self) -> None:
        """Carry out all jobs."""
        import ray

        while self.queue:
            self._start_due()
            refs = [self._news, *(entry.ref for entry in self.tries.values())]
            spoken, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
            if not spoken:
                spoken, _ = ray.wait(refs, num_returns=1, timeout=_LOOK, fetch_local=False)
            ended = [entry for entry in self.tries.values() if entry.ref in spoken]
            if ended:
                self._postbox.wake.remote()  # all that they have told is there by now
            if ended or self._news in spoken:
                self._read_letters()
            for entry in ended:
                del self.tries[entry.sender]
                self._settle(entry)
            self._speak_of_silence()

    def stop(self) -> None:
        """End what still runs, at a safe point where it comes to one, and leave nothing behind."""
        import ray
        from ray.exceptions import RayError

        tries, self.tries = list(self.tries.values()), {}
        for entry in tries:
            ray.cancel(entry.ref, force=False)
        refs = [entry.ref for entry in tries]
        if refs:
            ray.wait(refs, num_returns=len(refs), timeout=_GRACE)
            for entry in tries:
                self._keep_checkpoint(entry)
            for ref in refs:
                ray.cancel(ref, force=True)
            ray.wait(refs, num_returns=len(refs), timeout=_FORCE, fetch_local=False)
            self._postbox.wake.remote()
            with suppress(RayError):  # of jobs that had just begun
                self._note_places(ray.get(self._news, timeout=_FORCE))
        ray.kill(self._postbox)
        self._tidy_nodes()

    def _start_due(self) -> None:
        waiting = {entry.job.id for entry in self.tries.values() if entry.place is None}
        for job in self.queue.ready():
            if job.id in waiting:
                continue
            taken = sum(entry.job.processes for entry in self.tries.values())
            if taken and taken + job.processes > self.workers:
                return  # a smaller one behind it could begin, and would keep it waiting for ever
            self._start(job)

    def _start(self, job: Job) -> None:
        request = self._request(job)
        if why := self.cluster.why_no_room(request):
            self._want(job, why)
            return
        self._wanting.pop(job.id, None)
        sender = f"{job.id}#{secrets.token_hex(4)}"
        order = {
            "job": pickle.dumps(job),
            "sender": sender,
            "versions": self._versions,
            "path": [path for path in sys.path if path],
            "parcels": self._parcels(job),
            "site": self._site,
        }
        asked = dict(request)
        options = {"num_cpus": asked.pop("CPU"), "num_gpus": asked.pop("GPU", 0), "memory": asked.pop("memory", None)}
        ref = self._begin.options(**options, resources=asked or None, name=job.id).remote(order, self._postbox)
        self.tries[sender] = Try(job, sender, ref, request)

    def _request(self, job: Job) -> dict[str, float]:
        """Return what a job asks of a node: more of it where its process has died for want of memory, perhaps."""
        if self.queue.tried(job):
            roomy = self.config.request(job, 2 * job.processes)
            if self.cluster.why_no_room(roomy) is None:
                return roomy
        return self.config.request(job, job.processes)

    def _want(self, job: Job, why: str) -> None:
        """Let a job wait for a node that has room for it, or call it failed."""
        now = time.monotonic()
        since = self._wanting.setdefault(job.id, now)
        if now - since >= self.config.node_wait:
            self.queue.started(job)
            self.queue.failed(
                job,
                f"{why}. Lower what it asks for, by compute.processes or in the table [executor], or add such a node; "
                "where one may join later, set executor.node_wait to the seconds to wait for it",
            )
        elif since == now:
            self.observer.progressed(job, {"warning": f"{why}; it waits for a node to join"})

    def _parcels(self, job: Job) -> dict[str, Any] | None:
        if self._dispatch is None or not isinstance(job, MovableJob):
            return None
        cache = job.cache
        return {
            "files": self._dispatch.send(job.run, *job.reads),
            "images": {path.relative_to(cache).as_posix(): self._dispatch.send(cache, path) for path in job.images},
        }

    def _read_letters(self) -> None:
        import ray

        letters: list[Letter] = ray.get(self._news)
        self._news = self._postbox.fetch.remote()
        self._note_places(letters)
        for sender, values, place in letters:
            entry = self.tries.get(sender)
            if entry is None:  # of a try that has ended otherwise
                continue
            if place is not None:
                entry.place = place
                self.queue.started(entry.job)
            self._pass_on(entry, values)

    def _note_places(self, letters: Sequence[Letter]) -> None:
        for _, _, place in letters:
            if place is not None:
                self._used.setdefault(place["node"], []).append(place["process"])

    def _pass_on(self, entry: Try, values: Sequence[Mapping[str, Any]]) -> None:
        entry.heard = time.monotonic()
        for told in values:
            self.observer.progressed(entry.job, told)

    def _settle(self, entry: Try) -> None:
        import ray
        from ray import exceptions

        if entry.place is None:
            self.queue.started(entry.job)
        try:
            outcome: Mapping[str, Any] = ray.get(entry.ref)
        except exceptions.OutOfMemoryError:
            self.queue.died(entry.job, f"its process was killed, for want of memory on {entry.where}", _ADVICE)
        except (exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.LocalRayletDiedError):
            self._begin_anew(entry)
        except exceptions.WorkerCrashedError:
            if entry.place is not None and entry.place["node"] not in self.cluster.nodes():
                self._begin_anew(entry)
            else:
                self.queue.died(entry.job, f"its process on {entry.where} was killed (out of memory?)", _ADVICE)
        except exceptions.TaskCancelledError:
            self.queue.failed(entry.job, "it was cancelled in the cluster, not by this run")
        except exceptions.RuntimeEnvSetupError:
            raise
        except exceptions.RayError as error:
            self.queue.failed(entry.job, f"Ray could not carry it out: {error}")
        else:
            self._conclude(entry, outcome)

    def _conclude(self, entry: Try, outcome: Mapping[str, Any]) -> None:
        if "unfit" in outcome:
            raise RunError(
                f"the node {outcome['node']} of the Ray cluster cannot take part in the run: {outcome['unfit']}. "
                "All nodes need the same packages as the machine that runs 'sslkit run'. What is finished is kept: "
                "the same command goes on"
            )
        self._pass_on(entry, outcome["rest"])
        if "done" in outcome:
            self._take(entry, outcome)
        elif "failed" in outcome:
            self.queue.failed(entry.job, outcome["failed"])
        elif "stopped" in outcome:
            self.queue.failed(entry.job, "it was cancelled in the cluster, not by this run")
        else:
            how = f"its process on {entry.where} ended with status {outcome['exited']} before its result stood"
            self.queue.died(entry.job, how, _ADVICE)

    def _take(self, entry: Try, outcome: Mapping[str, Any]) -> None:
        """Put the results of a job in their place, unless they stand there."""
        try:
            if "files" in outcome and isinstance(entry.job, MovableJob):
                receive_results(entry.job, outcome["files"])
        except StorageError as error:
            self.queue.failed(entry.job, str(error))
        except RunError as error:  # damaged on their way
            self.queue.died(entry.job, str(error), "Is the memory or the network of a node at fault?")
        else:
            self.queue.finished(entry.job)

    def _begin_anew(self, entry: Try) -> None:
        times = self._node_failures[entry.job.id] = self._node_failures.get(entry.job.id, 0) + 1
        if times > self.config.max_node_failures:
            self.queue.failed(
                entry.job,
                f"{entry.where} died; it has begun anew {times - 1} times before, and executor.max_node_failures is "
                f"{self.config.max_node_failures}. {_ADVICE}",
            )
        else:
            self.queue.begins_anew(entry.job, f"{entry.where} died; the job begins anew on another")

    def _speak_of_silence(self) -> None:
        for entry in list(self.tries.values()):
            if entry.place is None and (why := self.cluster.why_no_room(entry.request)):
                self._withdraw(entry, why)
            elif time.monotonic() - entry.heard > _SILENCE:
                entry.heard = time.monotonic()
                told = "has told nothing" if entry.place else "has waited for room in the cluster"
                self.observer.progressed(entry.job, {"warning": f"{told} for {_SILENCE / 60:.0f} minutes"})

    def _withdraw(self, entry: Try, why: str) -> None:
        """Take back a job that the cluster has lost the nodes for."""
        import ray

        ray.cancel(entry.ref)
        del self.tries[entry.sender]
        self._want(entry.job, why)

    def _keep_checkpoint(self, entry: Try) -> None:
        """Fetch what a job that was stopped has come to, from a node that does not see the run directory."""
        import ray
        from ray.exceptions import RayError

        try:
            outcome = ray.get(entry.ref, timeout=0)
            if "files" in outcome and isinstance(entry.job, MovableJob):
                receive_results(entry.job, outcome["files"])
        except (RayError, RunError):  # it did not stop in time, or its directory is gone: it begins anew
            return

    def _tidy_nodes(self) -> None:
        """Have nodes end the last processes, which may be slow to, and remove what was unpacked there."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        tidy = ray.remote(num_cpus=0, max_retries=0)(tidy_node)
        site = self._site if self._dispatch is not None else None
        calls = []
        for node in self.cluster.nodes().keys() & self._used.keys():
            if self.cluster.ours:  # this machine
                tidy_node(site, node, self._used[node])
            else:
                there = NodeAffinitySchedulingStrategy(node, soft=False)
                calls.append(tidy.options(scheduling_strategy=there).remote(site, node, self._used[node]))
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=_TIDY)
