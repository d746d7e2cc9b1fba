"""What an executor promises when something goes wrong: that none takes another with it."""

from __future__ import annotations

from sslkit.interfaces import NOT_RUN
from sslkit.testing.jobs import Fail
from sslkit.testing.outcome import expect
from sslkit.testing.subjects import ExecutorSubject
from sslkit.testing.trials import Stopped


def check_failures_are_told(subject: ExecutorSubject) -> None:
    """A job that raises is told to have failed, with a reason that names the error, and ``run`` goes on and returns.

    The reason is all that a user gets to see of what happened in another process: give type and message, or the
    traceback.
    """
    trial = subject.ordinary
    expect(trial.raised is None, f"run() raises {trial.raised} where a job fails; tell it by observer.failed()")
    count = trial.told.count(("failed", "bad"))
    expect(count == 1, f"a job that raises is told {count} times to have failed; tell it once")
    reason = trial.reasons["bad"]
    expect("LookupError" in reason and Fail.message in reason, f"the reason does not name the error: {reason!r}")


def check_needy_jobs_are_not_run(subject: ExecutorSubject) -> None:
    """What waits for a failed job is not run, and fails with a reason that begins with ``NOT_RUN``.

    So does what waits for that. By its reason such a job is told from one that has failed itself.
    """
    trial = subject.ordinary
    for name in ("needy", "needs-needy"):
        expect(not trial.times(name, "begins"), f"the job {name!r} is run, though what it waits for has failed")
        reason = trial.reasons.get(name)
        expect(
            reason is not None and reason.startswith(NOT_RUN),
            f"the job {name!r}, which waits for a failed one, has the reason {reason!r}; begin it with sslkit.NOT_RUN",
        )


def check_deaths_are_survived(subject: ExecutorSubject) -> None:
    """A job whose process is killed is tried once more, and fails alone if it is killed again.

    The system kills what wants too much memory. Run jobs in processes of their own, none of which serves another job
    that has begun.
    """
    trial = subject.deadly
    expect(trial.fate is None, str(trial.fate))
    expect(trial.raised is None, f"run() raises {trial.raised} where a job's process is killed")
    for name in ("once", "always"):
        tries = trial.times(name, "begins")
        expect(tries == 2, f"a job whose process is killed is tried {tries} times in all; try it once more")
    for name in ("once", "beside", "needs-once"):
        expect(
            ("finished", name) in trial.told,
            f"the job {name!r}, which can be done, is not told to have finished: {trial.reasons.get(name)}",
        )
    for name in ("always", "needs-always"):
        expect(name in trial.reasons, f"the job {name!r}, which cannot be done, is not told to have failed")


def check_observer_stops_the_run(subject: ExecutorSubject) -> None:
    """What the observer raises is raised by ``run``, once the jobs that run are stopped; no other one is begun.

    That is how a user's interrupt, or a full disk, ends a run.
    """
    trial = subject.stopped
    expect(
        (trial.raised or "").startswith(Stopped.__name__),
        f"run() is to raise what the observer has raised, and raises {trial.raised}",
    )
    for name in ("long", "long-too"):
        expect(not trial.times(name, "ends"), f"the job {name!r} ran to its end, though the run was stopped before")
    expect(not trial.times("after-long", "begins"), "a job was begun after the run was stopped")
    expect(not trial.left, f"{len(trial.left)} jobs still run after the run was stopped; end them")


def check_no_process_is_left(subject: ExecutorSubject) -> None:
    """When ``run`` returns, the processes of its jobs are gone.

    They would hold memory, and a GPU, for as long as the program lives. Join them, or kill them.
    """
    trial = subject.ordinary
    expect(not trial.left, f"{len(trial.left)} processes of jobs are still there after run() has returned; end them")
