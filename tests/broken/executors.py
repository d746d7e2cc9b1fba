"""Executors that break one promise each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, ClassVar

from sslkit import NOT_RUN, Executor, Job, JobObserver, PluginConfig, follow_parent


@dataclass(eq=False)
class Try:
    """A job in a process, for the first time or again."""

    job: Job
    process: BaseProcess
    again: bool
    told: tuple[str, Any] = ("died", "its process was killed, for the second time")


class Sound(Executor[PluginConfig]):
    """Runs each job in a process of its own."""

    name = "sound"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = PluginConfig

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        self.observer, self.waiting = observer, list(jobs)
        self.unfinished, self.lost = {job.id for job in jobs}, set[str]()
        self.running = dict[Connection, Try]()
        try:
            while self.waiting or self.running:
                self.give_up()
                self.start_due(workers)
                for pipe in wait(list(self.running)) if self.running else ():
                    self.hear(pipe)
        finally:
            for attempt in self.running.values():
                attempt.process.kill()
                attempt.process.join()

    def give_up(self) -> None:
        while hopeless := [job for job in self.waiting if self.needs(job)]:
            for job in hopeless:
                self.waiting.remove(job)
                self.fail(job, f"{NOT_RUN}{', '.join(self.needs(job))}")

    def needs(self, job: Job) -> list[str]:
        return [name for name in job.after if name in self.lost]

    def start_due(self, workers: int) -> None:
        for job in [job for job in self.waiting if self.is_due(job)][: max(0, workers - len(self.running))]:
            self.waiting.remove(job)
            self.start(job)
            self.observer.started(job)

    def is_due(self, job: Job) -> bool:
        return self.unfinished.isdisjoint(job.after)

    def start(self, job: Job, again: bool = False) -> None:
        context = get_context("forkserver")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=self.work(), args=(job, theirs), daemon=True)
        process.start()
        theirs.close()
        self.running[ours] = Try(job, process, again)

    def work(self) -> Callable[..., None]:
        return work

    def hear(self, pipe: Connection) -> None:
        attempt = self.running[pipe]
        try:
            message = pipe.recv()
        except EOFError:
            pipe.close()
            del self.running[pipe]
            self.end(attempt.process)
            self.settle(attempt)
            return
        if message[0] == "progress":
            self.tell_progress(attempt.job, message[1])
        else:
            attempt.told = message

    def end(self, process: BaseProcess) -> None:
        process.join()

    def tell_progress(self, job: Job, values: Mapping[str, Any]) -> None:
        self.observer.progressed(job, values)

    def settle(self, attempt: Try) -> None:
        word, reason = attempt.told
        if word == "done":
            self.unfinished.remove(attempt.job.id)
            self.observer.finished(attempt.job)
        elif word == "died" and not attempt.again:
            self.start(attempt.job, again=True)
        else:
            self.fail(attempt.job, reason)

    def fail(self, job: Job, reason: str) -> None:
        self.lost.add(job.id)
        self.observer.failed(job, reason)


def work(job: Job, pipe: Connection) -> None:
    follow_parent()
    try:
        job.execute(lambda values: pipe.send(("progress", values)))
        pipe.send(("done", None))
    except Exception as error:
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
    pipe.close()


def work_and_idle(job: Job, pipe: Connection) -> None:
    work(job, pipe)
    time.sleep(60)


SOUND = Sound


class Unheard(JobObserver):
    """Hears of nothing."""

    started = progressed = finished = failed = lambda *_: None


class RunsOneAgain(Sound):
    """Runs its first job again at the end, to compare."""

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        super().run(jobs, workers, observer)
        super().run(jobs[:1], workers, Unheard())


class TellsOfNoStart(Sound):
    """Tells of jobs when they are over."""

    def start_due(self, workers: int) -> None:
        told, self.observer = self.observer, Unheard()
        super().start_due(workers)
        self.observer = told


class WaitsForOne(Sound):
    """Takes a job to be due as soon as the first that it waits for is done."""

    def is_due(self, job: Job) -> bool:
        return self.unfinished.isdisjoint(job.after[:1])


class NeedsAllInTheList(Sound):
    """Takes a job that is not in the list to have failed."""

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        self.known = {job.id for job in jobs}
        super().run(jobs, workers, observer)

    def needs(self, job: Job) -> list[str]:
        return super().needs(job) + [name for name in job.after if name not in self.known]


class Crowded(Sound):
    """Runs thrice as many jobs as it may."""

    def start_due(self, workers: int) -> None:
        super().start_due(3 * workers)


class TellsOfUpdatesAlone(Sound):
    """Passes on what a bar shows."""

    def tell_progress(self, job: Job, values: Mapping[str, Any]) -> None:
        if "done" in values:
            super().tell_progress(job, values)


class GivesNoReason(Sound):
    """Keeps to itself why a job has failed."""

    def fail(self, job: Job, reason: str) -> None:
        super().fail(job, reason if reason.startswith(NOT_RUN) else "the job has failed")


class SaysSkipped(Sound):
    """Has words of its own for what was not run."""

    def fail(self, job: Job, reason: str) -> None:
        super().fail(job, reason.replace(NOT_RUN, "skipped: "))


class TriesOnce(Sound):
    """Lets a job that was killed be."""

    def start(self, job: Job, again: bool = False) -> None:
        super().start(job, again=True)


class DeafToItsObserver(Sound):
    """Logs what goes wrong where progress is shown, and goes on."""

    def tell_progress(self, job: Job, values: Mapping[str, Any]) -> None:
        try:
            super().tell_progress(job, values)
        except BaseException as error:
            print(f"cannot show progress: {error!r}")


class LeavesIdlers(Sound):
    """Keeps processes for jobs that may come."""

    def work(self) -> Callable[..., None]:
        return work_and_idle

    def end(self, process: BaseProcess) -> None:
        """Leave it to itself."""


class Serial(Executor[PluginConfig]):
    """Runs jobs one after another in its own process, which a job takes with it when it dies."""

    name = "serial"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = PluginConfig

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        waiting, lost = {job.id: job for job in jobs}, set[str]()
        while waiting:
            job = next(job for job in waiting.values() if waiting.keys().isdisjoint(job.after))
            if needs := lost.intersection(job.after):
                observer.failed(job, f"{NOT_RUN}{', '.join(needs)}")
                lost.add(job.id)
            else:
                observer.started(job)
                try:
                    job.execute(lambda values, job=job: observer.progressed(job, values))
                    observer.finished(job)
                except Exception as error:
                    observer.failed(job, f"{type(error).__name__}: {error}")
                    lost.add(job.id)
            del waiting[job.id]


class Endless(Sound):
    """Waits for what never comes."""

    def run(self, jobs: Sequence[Job], workers: int, observer: JobObserver) -> None:
        time.sleep(600)


BROKEN: dict[str, type[Executor[Any]]] = {
    "check_each_job_runs_once": RunsOneAgain,
    "check_jobs_are_told_of": TellsOfNoStart,
    "check_jobs_wait_for_others": WaitsForOne,
    "check_jobs_done_before": NeedsAllInTheList,
    "check_number_at_a_time": Crowded,
    "check_progress_is_told": TellsOfUpdatesAlone,
    "check_failures_are_told": GivesNoReason,
    "check_needy_jobs_are_not_run": SaysSkipped,
    "check_deaths_are_survived": TriesOnce,
    "check_observer_stops_the_run": DeafToItsObserver,
    "check_no_process_is_left": LeavesIdlers,
}
