"""How long the rest of a run takes, from what its jobs cost and what they have been seen to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sslkit.experiment.schedule import makespan
from sslkit.interfaces import Job

_PRIOR = 0.5
"""How many jobs of a kind what is known of the others weighs as much as, while its own are few."""

_OWN_PRIOR = 0.1
"""Which share of a job under way what is known of its kind weighs as much as, beside its own pace."""

_FLOOR = 0.02
"""What every job takes at least, as a share of the mean: starting it, if nothing else."""

_EVIDENCE = 1.0
"""Seconds of work to be seen before anything is said, where nothing was measured before."""

_EXACT = 60
"""Up to so many jobs the schedule is played through; beyond, it is bounded."""

_CALM = 20.0
"""Seconds in which what is said follows what is reckoned, to about two thirds."""


@dataclass
class _Running:
    """A job under way: when it began and first spoke, and the share of it that was done then and is done now."""

    job: Job
    started: float
    first: tuple[float, float] | None = None
    last: tuple[float, float] = (0.0, 0.0)

    @property
    def share_left(self) -> float:
        return 1.0 - self.last[1]

    @property
    def taken(self) -> tuple[float, float]:
        """The seconds from its first word to its last, and the share of it that was done in them."""
        first = self.first or self.last
        return self.last[0] - first[0], self.last[1] - first[1]


class RemainingTime:
    """Tells how long the rest of a run takes; calmly, since it is read by people.

    Each job is expected to take its cost, or the seconds that were measured of it before. What is seen of the jobs of a
    kind (the pretrainings of one task; the cells) scales what is expected of the others of that kind; while little of
    a kind was seen, what is known of all counts as half a job, but for cells and features what is known of the
    quickest kind, since the cost of a pretraining leaves out how many views its task makes. Jobs under way count by
    their updates from their first word on, so that the time to start them is not taken for slowness. The rest is
    scheduled as executors do it.

    Args:
        jobs: all that are to be done.
        workers: jobs at a time.
        seconds: what was measured of jobs before, by id; may be empty.
        clock: the time in seconds.

    Example:
        >>> from types import SimpleNamespace as Job
        >>> jobs = [Job(id=f"cells/{number}", after=(), cost=5, processes=1) for number in range(4)]
        >>> now = 0.0
        >>> rest = RemainingTime(jobs, workers=1, seconds={}, clock=lambda: now)
        >>> rest.started(jobs[0])
        >>> now = 10.0
        >>> rest.finished(jobs[0])
        >>> rest.seconds()
        30.0
    """

    def __init__(
        self, jobs: Sequence[Job], workers: int, seconds: Mapping[str, float], clock: Callable[[], float]
    ) -> None:
        self._waiting = {job.id: job for job in jobs}
        self._running: dict[str, _Running] = {}
        self._workers, self._clock = max(1, workers), clock
        self._measured = bool(seconds)
        costs = {job.id: seconds.get(job.id, job.cost) if seconds else job.cost for job in jobs}
        floor = _FLOOR * (sum(costs.values()) / len(costs)) if costs else 0.0
        self._expected = {name: cost + floor or 1.0 for name, cost in costs.items()}
        self._kinds: dict[str, list[float]] = {}
        for name, expected in self._expected.items():
            self._kinds.setdefault(_kind(name), []).append(expected)
        self._seen: dict[str, tuple[float, float]] = {}  # of the jobs that are over: seconds, and what was expected
        self._said: tuple[float, float] | None = None

    def started(self, job: Job) -> None:
        """A job begins."""
        self._waiting.pop(job.id, None)
        self._running[job.id] = _Running(job, self._clock())

    def progressed(self, job: Job, done: float, total: float) -> None:
        """A job has done so many of its updates."""
        running = self._running.get(job.id)
        if running is None or not total > 0:
            return
        running.last = self._clock(), min(1.0, max(0.0, done / total))
        running.first = running.first or running.last

    def finished(self, job: Job) -> None:
        """A job is over."""
        running = self._running.pop(job.id, None)
        if running is None or job.id not in self._expected:
            return
        start = running.first[1] if running.first else 0.0  # of one that was gone on with, the rest alone was done now
        was_begun = 0.5 < start < 1  # at 1 its first word was its last, which says nothing of where it began
        done = self._expected[job.id] * (1 - start if was_begun else 1.0)
        seconds, expected = self._seen.get(_kind(job.id), (0.0, 0.0))
        self._seen[_kind(job.id)] = seconds + self._clock() - running.started, expected + done

    def failed(self, job: Job) -> None:
        """A job is given up: nothing is learnt from it, and it takes no more time."""
        self._waiting.pop(job.id, None)
        self._running.pop(job.id, None)

    def seconds(self) -> float | None:
        """Return how long the rest takes, about; None while nothing is known."""
        now, reckoned = self._clock(), self._reckon()
        if reckoned is None:
            return None
        if self._said is None:
            self._said = now, reckoned
        before, said = self._said
        passed = now - before
        calm = max(_CALM, 0.05 * said)
        expected = max(0.0, said - passed)
        self._said = now, expected + (reckoned - expected) * (1 - math.exp(-passed / calm))
        return self._said[1] if self._waiting or self._running else 0.0

    def _reckon(self) -> float | None:
        """Return what the state of things says by itself."""
        seen = self._evidence()
        seconds, expected = (sum(values) for values in zip(*seen.values(), strict=True)) if seen else (0.0, 0.0)
        if not self._expected or (not self._measured and seconds < _EVIDENCE):
            return None
        mean = sum(self._expected.values()) / len(self._expected)
        prior = _PRIOR * mean if self._measured else 0.0
        overall = (seconds + prior) / (expected + prior)
        least = min((taken / done for taken, done in seen.values()), default=overall)
        rates = {}
        for kind, own in self._kinds.items():
            taken, done = seen.get(kind, (0.0, 0.0))
            others = overall if self._measured or kind.startswith("pretraining") else min(overall, least)
            prior = _PRIOR * sum(own) / len(own)
            rates[kind] = (taken + others * prior) / (done + prior)
        left = {name: self._expected[name] * rates[_kind(name)] for name in self._waiting}
        for name, running in self._running.items():
            left[name] = self._left(running, rates[_kind(name)])
        jobs = [*(running.job for running in self._running.values()), *self._waiting.values()]
        if len(jobs) <= _EXACT:
            return makespan(jobs, max(self._workers, len(self._running)), lambda job: left[job.id])
        work = sum(left[job.id] * job.processes for job in jobs)
        return max(work / self._workers, max(left.values(), default=0.0))

    def _left(self, running: _Running, rate: float) -> float:
        whole = self._expected[running.job.id] * rate
        if running.first is None:
            return max(0.1 * whole, whole - (self._clock() - running.started))
        taken, done = running.taken
        whole = (taken + _OWN_PRIOR * whole) / (done + _OWN_PRIOR)
        return max(0.0, whole * running.share_left - (self._clock() - running.last[0]))

    def _evidence(self) -> dict[str, tuple[float, float]]:
        """Return of each kind the seconds that work has taken, and what had been expected of it."""
        found = dict(self._seen)
        for name, running in self._running.items():
            taken, done = running.taken
            if done > 0:
                seconds, expected = found.get(_kind(name), (0.0, 0.0))
                found[_kind(name)] = seconds + taken, expected + self._expected[name] * done
        return found


def _kind(name: str) -> str:
    """Return what jobs are compared by: ``cells``, ``features``, or ``pretraining`` and the name of its task."""
    first, _, rest = name.partition("/")
    return f"{first}/{rest.partition('/')[0]}" if first == "pretraining" else first
