"""Jobs on their way through a cluster: what is handed over, what is heard of it, and what becomes of it."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sslkit import Job, JobObserver, JobQueue, MovableJob, stops_held
from sslkit.errors import RunError
from sslkit.files import write_json
from sslkit_slurm import queue
from sslkit_slurm.clusters import Cluster, Refused
from sslkit_slurm.entry import Entry
from sslkit_slurm.task import Task

_LATE = 60.0
"""Seconds that a result may come after its process has ended: a network disk shows what another node wrote late."""

_SILENCE = 600.0
"""Seconds after which a scheduler that does not answer is spoken of, and again after each such span."""


class Campaign:
    """Hands jobs over in waves, hears of them, and settles what has ended.

    A wave is an array of all jobs of one size that may begin by then. The next one is handed over once all of the last
    are running and there is room for more: a run of hundreds of cells calls sbatch a few times. What limits the number
    at a time is the arrays' own throttle, which is raised as earlier arrays run out. Waves, and not dependencies
    between jobs in Slurm: what failed and what is to be tried again is decided here, as with every executor.
    """

    def __init__(
        self,
        cluster: Cluster,
        jobs: Sequence[Job],
        at_a_time: int,
        observer: JobObserver,
    ) -> None:
        self.cluster, self.jobs, self.at_a_time, self.observer = cluster, jobs, at_a_time, observer
        self.ledger = cluster.folder.parent / LEDGER
        self.queue = JobQueue(jobs, observer)
        self.out: dict[str, Entry] = {}
        self.throttles: dict[str, int] = {}
        self.preempted: dict[str, int] = defaultdict(int)
        self.submitted = 0
        self.heard = time.monotonic()
        self.refused = float("-inf")

    def work(self) -> None:
        """Carry out all jobs."""
        while self.queue:
            self._submit()
            if not self._look():
                time.sleep(self.cluster.poll_seconds)

    def stop(self, patience: float) -> None:
        """Cancel what is on the cluster, and wait a while until it has come to a safe point and its end.

        What is not seen to end by then stays in the ledger, for the next call to cancel.
        """
        over = True
        if handles := [entry.handle for entry in self.out.values()]:
            self.cluster.cancel(handles)
            over = self._wait_for([entry.id for entry in self.out.values()], patience)
        for entry in self.out.values():
            entry.remove_files(logs=True)
        if over:
            self.ledger.unlink(missing_ok=True)

    def cancel_earlier(self, patience: float) -> None:
        """Cancel what a call that was killed has left on the cluster: it is handed over again.

        Of two copies of a job neither would harm the other, but one would be for nothing.
        """
        if not self.cluster.remembers:
            return
        try:
            known = json.loads(self.ledger.read_text(encoding="utf-8"))
            ids = [name for name in known if re.fullmatch(r"\d+(_\d+)?", name)]
        except (OSError, ValueError, TypeError):
            return
        said = queue.states(ids)  # where Slurm does not answer, all of them may be alive
        alive = [name for name in ids if said is None or not queue.has_ended(said[name][0])]
        if alive:
            told = f"{len(alive)} jobs of an earlier call are still on the cluster; they are stopped and begun again"
            self.observer.progressed(self.jobs[0], {"warning": told})
            queue.cancel(alive)
            self._wait_for(alive, patience)
        for path in (*self.ledger.parent.glob("*/*.pkl"), *self.ledger.parent.glob("*/*.jsonl")):
            path.unlink(missing_ok=True)

    def _wait_for(self, ids: Sequence[str], patience: float) -> bool:
        """Wait until jobs are seen to have ended, or patience has; return which."""
        deadline = time.monotonic() + patience
        while self.cluster.remembers and time.monotonic() < deadline:
            said = queue.states(ids)
            if said is not None and all(queue.has_ended(state) for state, _ in said.values()):
                return True
            time.sleep(1.0)
        return not self.cluster.remembers

    def _submit(self) -> None:
        ready = [job for job in self.queue.ready() if job.id not in self.out]
        while ready:
            taken = sum(entry.job.processes for entry in self.out.values())
            room = self.cluster.room(taken, self.at_a_time)
            size = ready[0].processes
            most = max(room // size, 0 if taken else 1)  # one that is larger than there is room for goes alone
            wave = [job for job in ready if job.processes == size][:most]
            if not wave:
                return
            try:
                with stops_held():
                    self._hand_over(wave, size, max(self.at_a_time - taken, size))
            except Refused as error:
                self._wait_or_raise(error, wave[0])
                return
            ready = [job for job in ready if job.id not in self.out]

    def _hand_over(self, wave: Sequence[Job], size: int, at_a_time: int) -> None:
        tasks = []
        for job in wave:
            self.submitted += 1
            told = self.cluster.folder / f"{self.submitted:05}.jsonl"
            places = (job.run, *job.images[:1]) if isinstance(job, MovableJob) else ()
            tasks.append(Task(job, told, places, signals=not self.cluster.in_process))
        handles = self.cluster.submit(tasks, size, at_a_time)
        for task, handle in zip(tasks, handles, strict=True):
            entry = self.out[task.job.id] = Entry(task.job, handle, task.told)
            self.throttles[entry.array] = max(1, at_a_time // size)
        if self.cluster.remembers:
            write_json(self.ledger, {entry.id: name for name, entry in self.out.items()})

    def _look(self) -> bool:
        """Hear of all jobs on the cluster; return whether any of them has ended."""
        entries = list(self.out.values())
        said = self.cluster.states([entry.handle for entry in entries])
        if said is None:
            self._complain(entries)
        else:
            self.heard = time.monotonic()
        for entry in entries:
            state, node = (said or {}).get(entry.id, ("", ""))
            over = entry.handle.paths.result_pickle.exists() or self.cluster.in_process
            for line in entry.lines():
                self._hear(entry, line)
            if over:
                self._settle(entry)
            elif queue.has_ended(state):
                self._settle_dead(entry, state, node)
            elif state:
                entry.ended = None  # it was between two tries
        self._share_out()
        return len(self.out) < len(entries)

    def _hear(self, entry: Entry, line: Mapping[str, Any]) -> None:
        if "told" in line:
            self.observer.progressed(entry.job, line["told"])
        elif entry.begun:
            told = f"it was sent back to the queue, preempted or its time up, and runs again on {line['node']}"
            self.observer.progressed(entry.job, {"warning": told})
        self._begin(entry)

    def _begin(self, entry: Entry) -> None:
        if not entry.begun:
            entry.begun = True
            self.queue.started(entry.job)

    def _settle(self, entry: Entry) -> None:
        del self.out[entry.job.id]
        self._begin(entry)
        try:
            reason = entry.handle.result()
        except Exception as error:  # what submitit, or a result that cannot be read, raises is this job's failure
            reason = str(error)
        if reason is None:
            self.queue.finished(entry.job)
            entry.remove_files(logs=True)
        else:
            where = f"\nIts log is {entry.log}" if entry.log.exists() else ""
            self.queue.failed(entry.job, f"{reason.rstrip()}{where}")
            entry.remove_files(logs=False)

    def _settle_dead(self, entry: Entry, state: str, node: str) -> None:
        """Settle a job that has ended and left no result, once that cannot be on its way any more."""
        now = time.monotonic()
        entry.ended = now if entry.ended is None else entry.ended
        if now - entry.ended < (_LATE if queue.completed(state) or state == queue.GONE else self.cluster.soon):
            return
        del self.out[entry.job.id]
        self._begin(entry)
        entry.remove_files(logs=False)
        where = f" on {node}" if node else ""
        match state:
            case "CANCELLED":
                reason = f"it was cancelled as job {entry.id}; the same command begins it again"
                self.queue.failed(entry.job, reason)
            case "TIMEOUT" | "DEADLINE":
                how = f"job {entry.id} had not come to a safe point when its time was up"
                self.queue.died(entry.job, how, f"Raise executor.time or executor.signal_seconds. {entry.log_tail()}")
            case _:
                if state == "PREEMPTED":
                    self.preempted[entry.job.id] += 1
                how = f"its process{where}, job {entry.id}, {self.cluster.how_it_ended(entry.id, state)}"
                tries = 2 + self.preempted[entry.job.id]
                self.queue.died(entry.job, how, f"{entry.log_tail()}\n{_ADVICE}", tries=tries)

    def _share_out(self) -> None:
        """Let later arrays have the room that earlier ones leave."""
        left: dict[str, list[Job]] = defaultdict(list)
        for entry in self.out.values():
            left[entry.array].append(entry.job)
        free = self.at_a_time
        for array, jobs in left.items():
            size = jobs[0].processes
            now = max(1, min(len(jobs), free // size))
            free -= now * size
            if now > self.throttles[array] and len(jobs) > self.throttles[array]:
                self.throttles[array] = now
                self.cluster.let_run(array, now)

    def _wait_or_raise(self, error: Refused, job: Job) -> None:
        """Go on where jobs may be taken later: when the scheduler answers again, or some have ended."""
        said = str(error)
        if not (queue.may_come_right(said) or (self.out and queue.is_a_limit(said))):
            hint = "; lower executor.array_size" if queue.is_a_limit(said) else ""
            raise RunError(f"Slurm does not take the jobs: {said}{hint}. See the table [executor]") from error
        if time.monotonic() - self.refused > _SILENCE:
            self.refused = time.monotonic()
            self.observer.progressed(job, {"warning": f"Slurm does not take jobs now, and is asked again: {said}"})

    def _complain(self, entries: Sequence[Entry]) -> None:
        if entries and time.monotonic() - self.heard > _SILENCE:
            self.heard = time.monotonic()
            self.observer.progressed(
                entries[0].job, {"warning": f"Slurm has not answered for {_SILENCE / 60:.0f} minutes; it is waited for"}
            )


LEDGER = "on-the-cluster.json"
"""Names the jobs that were handed over last, by the scheduler's ids, for a call that follows one that was killed."""

_ADVICE = "Run the same command again, with more executor.memory if that was short."
