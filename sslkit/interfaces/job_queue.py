"""What every executor has to keep in mind: which jobs may begin, and what becomes of those that wait for others."""

from __future__ import annotations

from collections.abc import Sequence

from sslkit.interfaces.executor import NOT_RUN, Job, JobObserver, longest_first

_TRIES = 2
"""How often a job is begun at most whose process dies."""


class JobQueue:
    """The jobs of a run on their way through an executor, which asks it what may begin and tells it what has ended.

    The queue keeps the promises that all executors make: the jobs that most work waits for come first; a job whose
    process dies is tried once more; what needs a failed job is reported as failed and not run. It tells the observer
    all of it but progress. It is true as long as there are jobs that wait or run.

    Args:
        jobs: in any order; what a job waits for may be missing, if it is done.
        observer: hears of the jobs.

    Example:
        >>> from pathlib import Path
        >>> from sslkit.testing.jobs import ordinary_jobs
        >>> from sslkit.testing.trials import Trial
        >>> jobs = ordinary_jobs(Path("log"))
        >>> queue = JobQueue(jobs, Trial(Path("log")))
        >>> [job.id for job in queue.ready()][:2]
        ['first', 'bad']
        >>> bad = queue.ready()[1]
        >>> queue.started(bad)
        >>> queue.failed(bad, "its input is damaged")  # and with it what needs it
        >>> len(queue.ready()), len(queue.waiting)
        (8, 10)
    """

    def __init__(self, jobs: Sequence[Job], observer: JobObserver) -> None:
        self._observer = observer
        self._waiting = {job.id: job for job in longest_first(jobs)}
        self._unfinished = set(self._waiting)
        self._running: dict[str, Job] = {}
        self._begun: set[str] = set()
        self._deaths: dict[str, int] = {}
        self._lost: dict[str, tuple[str, ...]] = {}  # what failed or cannot run, each with the failed jobs behind it

    def __bool__(self) -> bool:
        return bool(self._waiting or self._running)

    @property
    def waiting(self) -> list[Job]:
        """The jobs that have not begun, or are to begin again."""
        return list(self._waiting.values())

    def ready(self) -> list[Job]:
        """Return the jobs that may begin, those to be tried again first, then those to begin anew, then the others.

        Among the others come first those that most work waits for.

        Raises:
            ValueError: if no job may begin and none runs, though some wait: for one another.
        """
        ready = [job for job in self._waiting.values() if self._unfinished.isdisjoint(job.after)]
        if self._waiting and not ready and not self._running:
            raise ValueError(f"the jobs {', '.join(self._waiting)} wait for one another")
        return sorted(ready, key=lambda job: (not self.tried(job), job.id not in self._begun))

    def tried(self, job: Job) -> bool:
        """Return whether the process of a job has died before."""
        return job.id in self._deaths

    def started(self, job: Job) -> None:
        """A job that was ready has begun."""
        self._running[job.id] = self._waiting.pop(job.id)
        if job.id not in self._begun:
            self._begun.add(job.id)
            self._observer.started(job)

    def finished(self, job: Job) -> None:
        """The results of a job stand."""
        del self._running[job.id]
        self._unfinished.remove(job.id)
        self._observer.finished(job)

    def failed(self, job: Job, reason: str) -> None:
        """A job has raised an error, and would raise it again."""
        del self._running[job.id]
        self._lost[job.id] = (job.id,)
        self._observer.failed(job, reason)
        self._give_up()

    def died(self, job: Job, how: str, advice: str = "", *, tries: int = _TRIES) -> None:
        """The process of a job has ended without a word.

        Args:
            job: the job.
            how: what is known of it, as a clause: ``"its process was killed"``.
            advice: what a user may do where it has died for the last time.
            tries: how often it is begun at most.
        """
        deaths = self._deaths[job.id] = self._deaths.get(job.id, 0) + 1
        if deaths >= tries:
            self.failed(job, f"{how}, for the {_ORDINALS.get(deaths, f'{deaths}th')} time. {advice}".rstrip())
            return
        self._waiting[job.id] = self._running.pop(job.id)
        self._observer.progressed(job, {"warning": f"{how}; it is tried once more"})

    def begins_anew(self, job: Job, why: str) -> None:
        """A job that runs is to begin anew, through no fault of its own: that counts as no try.

        Args:
            job: the job.
            why: what the observer is warned of: ``"its node died; it begins anew on another"``.
        """
        self._waiting[job.id] = self._running.pop(job.id)
        self._observer.progressed(job, {"warning": why})

    def _give_up(self) -> None:
        """Report every job that needs a failed one, or needs one that does."""
        while hopeless := [job for job in self._waiting.values() if not self._lost.keys().isdisjoint(job.after)]:
            for job in hopeless:
                del self._waiting[job.id]
                causes = (cause for name in job.after for cause in self._lost.get(name, ()))
                self._lost[job.id] = tuple(dict.fromkeys(causes))
                self._observer.failed(job, f"{NOT_RUN}{', '.join(self._lost[job.id])}, which failed")


_ORDINALS = {1: "first", 2: "second", 3: "third"}
