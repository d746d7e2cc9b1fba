"""What an executor promises of jobs that do well: each once, in their order, so many at a time."""

from __future__ import annotations

from sslkit.testing.jobs import DONE_BEFORE, Tell, ordinary_jobs
from sslkit.testing.outcome import expect
from sslkit.testing.subjects import ExecutorSubject
from sslkit.testing.trials import NUM_WORKERS

_WELL = ("first", "second", "last", "talker", *(f"free-{number}" for number in range(5)))
"""The ordinary jobs that neither fail nor wait for what is not there."""


def check_each_job_runs_once(subject: ExecutorSubject) -> None:
    """Every job is run, and run once.

    What is run again takes its time again, and writes where others read already.
    """
    trial = subject.ordinary
    for name in _WELL:
        begun, ended = trial.times(name, "begins"), trial.times(name, "ends")
        expect(
            (begun, ended) == (1, 1), f"the job {name!r} has begun {begun} times, and ended {ended} times; run it once"
        )


def check_jobs_are_told_of(subject: ExecutorSubject) -> None:
    """The observer hears once that a job has started, then that it has finished, when its results stand.

    That is what a run shows, and what its state is written down from.
    """
    trial = subject.ordinary
    for name in _WELL:
        told = [event for event, job in trial.told if job == name]
        wanted = ["started", "finished"]
        expect(told == wanted, f"of the job {name!r} is told {told}; tell {wanted}")
    expect(not trial.early, f"{trial.early} are told to have finished before they had; wait for execute() to return")


def check_jobs_wait_for_others(subject: ExecutorSubject) -> None:
    """No job begins before all those in its ``after`` have ended.

    It reads their files. ``after`` may name several jobs, in any order, and they may stand behind it in the list.
    """
    trial = subject.ordinary
    lines = trial.written()
    for job in ordinary_jobs(trial.log):
        for before in job.after:
            if (job.id, "begins") in lines and before != DONE_BEFORE:
                begun = lines.index((job.id, "begins"))
                expect((before, "ends") in lines[:begun], f"the job {job.id!r} begins before {before!r} has ended")


def check_jobs_done_before(subject: ExecutorSubject) -> None:
    """A job runs whose ``after`` names a job that is not among those given: that one is done.

    A run that is taken up again gives the rest of its jobs alone.
    """
    trial = subject.ordinary
    expect(
        ("finished", "resumed") in trial.told,
        f"a job whose predecessor was done in an earlier run is told to have failed, or not run at all: "
        f"{trial.reasons.get('resumed', 'nothing is told of it')}. Wait for jobs of the list alone",
    )


def check_number_at_a_time(subject: ExecutorSubject) -> None:
    """At most ``workers`` jobs run at a time, but for the last ones.

    Each takes memory, and a core or a GPU. The last jobs, fewer than ``workers`` that wait, may begin beside others.
    """
    trial = subject.ordinary
    waiting = {job.id for job in ordinary_jobs(trial.log) if not job.after}
    running: set[str] = set()
    for name, word in trial.written():
        waiting.discard(name)
        running = running | {name} if word == "begins" else running - {name}
        running.discard("bad")  # which does not say when it ends
        expect(
            len(running) <= NUM_WORKERS or len(waiting) < NUM_WORKERS,
            f"{len(running)} jobs run at a time where workers = {NUM_WORKERS}, and {len(waiting)} more wait",
        )


def check_progress_is_told(subject: ExecutorSubject) -> None:
    """All that a job reports reaches ``observer.progressed``, as it is and in its order.

    The bar on the screen, the log of metrics and the warnings of a run are made of it.
    """
    trial = subject.ordinary
    wanted: list[dict[str, object]] = []
    next(job for job in ordinary_jobs(trial.log) if isinstance(job, Tell)).work(
        lambda values: wanted.append({**values})
    )
    found = trial.progress.get("talker", [])
    expect(found == wanted, f"a job that reports {wanted} is told to have reported {found}")
