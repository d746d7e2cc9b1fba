"""The estimate of the rest, held against runs that are played through with a clock of their own."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from jobs import OneProcess

from sslkit.experiment.remaining_time import RemainingTime
from sslkit.interfaces import longest_first


@dataclass(frozen=True)
class Planned(OneProcess):
    """A job, what it truly takes in all, and what it takes to start."""

    id: str
    after: tuple[str, ...]
    cost: float
    truth: float
    startup: float = 0.3

    def execute(self, report: object) -> None:
        raise NotImplementedError


def study(tasks: int, folds: int, shares: int, *, cell_speed: float = 1.0, noise: float = 0.0) -> list[Planned]:
    """Return the jobs of a tournament; a unit of cost takes 0.01 s in a pretraining, and in a cell that by its speed.

    The tasks' pretrainings cost the same and take up to three times as long, as those do that make more views.
    """
    chance = random.Random(0)
    jobs = []
    for task, fold in itertools.product(range(tasks), range(folds)):
        name = f"pretraining/task{task}/{fold}"
        slow = 1 + 2 * task / max(1, tasks - 1)
        jobs.append(Planned(name, (), 20_000, 200 * slow * (1 + noise * chance.uniform(-1, 1))))
        for share in range(shares):
            truth = 40 * cell_speed * (1 + noise * chance.uniform(-1, 1))
            jobs.append(Planned(f"cells/{task}-{fold}-{share}", (name,), 4_000, truth))
    return jobs


def play(jobs: Sequence[Planned], workers: int, seconds: dict[str, float]) -> Iterator[tuple[float, float | None]]:
    """Yield every 2 s the time and what was said of the rest, and at last the time of the end and 0."""
    now = 0.0
    rest = RemainingTime(jobs, workers, seconds, lambda: now)
    waiting = longest_first(jobs)
    unfinished = {job.id for job in jobs}
    running: list[tuple[float, str, Planned, float]] = []
    for tick in itertools.count(1):
        while True:
            for job in [job for job in waiting if unfinished.isdisjoint(job.after)][: workers - len(running)]:
                waiting.remove(job)
                rest.started(job)
                heapq.heappush(running, (now + job.truth, job.id, job, now))  # type: ignore[misc]
            if not running or running[0][0] > 2.0 * tick:
                break
            now, name, job, _ = heapq.heappop(running)
            unfinished.discard(name)
            rest.finished(job)
        if not running:
            yield now, rest.seconds()
            return
        now = 2.0 * tick
        for _, _, job, began in running:
            if now - began > job.startup:
                rest.progressed(job, round(2000 * (now - began - job.startup) / (job.truth - job.startup)), 2000)
        yield now, rest.seconds()


STUDIES = [
    pytest.param(study(1, 5, 5), 2, id="one task"),
    pytest.param(study(6, 5, 2), 4, id="a tournament"),
    pytest.param(study(3, 5, 5, cell_speed=0.5), 4, id="cells are faster than pretrainings"),
    pytest.param(study(3, 5, 5, cell_speed=2), 4, id="cells are slower than pretrainings"),
    pytest.param(study(6, 5, 5, noise=0.3), 64, id="a job for every worker"),
]


@pytest.mark.parametrize(("jobs", "workers"), STUDIES)
def test_it_is_sensible_from_early_on_and_ever_better(jobs: list[Planned], workers: int) -> None:
    told = list(play(jobs, workers, {}))
    end, last = told[-1]
    assert last == 0
    assert told[4][1] is not None  # after ten seconds
    for now, said in told:
        if said is not None:
            truth = end - now
            assert abs(said - truth) <= 0.65 * truth + 0.03 * end, (now, said, truth)
            if now > 0.9 * end:  # by then cells were seen, of whose pace nobody could know before
                assert abs(said - truth) <= 0.05 * end, (now, said, truth)


@pytest.mark.parametrize(("jobs", "workers"), STUDIES)
def test_it_does_not_jump(jobs: list[Planned], workers: int) -> None:
    told = [(now, said) for now, said in play(jobs, workers, {}) if said is not None]
    end = told[-1][0]
    for (before, said), (now, then) in itertools.pairwise(told[:-1]):
        assert abs(then - (said - (now - before))) <= 0.05 * end, (now, said, then)


@pytest.mark.parametrize(("jobs", "workers"), STUDIES)
def test_what_was_measured_before_is_said_at_once(jobs: list[Planned], workers: int) -> None:
    told = list(play(jobs, workers, {job.id: job.truth for job in jobs}))
    end = told[-1][0]
    assert abs(told[0][1] - end) <= 0.12 * end  # type: ignore[operator]
    for now, said in told:
        assert said is not None
        assert abs(said - (end - now)) <= 0.12 * end


def test_measurements_that_prove_wrong_are_overcome() -> None:
    jobs = study(1, 5, 5)
    told = list(play(jobs, 2, {job.id: job.truth / 3 for job in jobs}))
    end = told[-1][0]
    assert told[0][1] < 0.45 * end  # type: ignore[operator]
    for now, said in told:
        if now > 0.3 * end:
            assert abs(said - (end - now)) <= 0.12 * end  # type: ignore[operator]


def test_nothing_is_said_before_anything_is_known() -> None:
    (job,) = study(1, 1, 0)
    now = 0.0
    rest = RemainingTime([job], 1, {}, lambda: now)
    assert rest.seconds() is None
    rest.started(job)
    now = 30.0
    assert rest.seconds() is None  # it may just be starting
    rest.progressed(job, 10, 0)  # of none
    assert rest.seconds() is None
    rest.progressed(job, 10, 100)
    now = 40.0
    rest.progressed(job, 20, 100)
    assert rest.seconds() == pytest.approx(80, rel=0.01)


def test_a_job_that_is_gone_on_with_counts_by_what_it_has_done_now() -> None:
    jobs = study(1, 2, 0)
    now = 0.0
    rest = RemainingTime(jobs, 1, {}, lambda: now)
    rest.started(jobs[0])
    rest.progressed(jobs[0], 90, 100)
    now = 20.0
    rest.finished(jobs[0])
    assert rest.seconds() == pytest.approx(200, rel=0.05)


def test_failed_jobs_take_no_more_time() -> None:
    jobs = study(1, 3, 0)
    now = 0.0
    rest = RemainingTime(jobs, 1, {}, lambda: now)
    rest.started(jobs[0])
    now = 200.0
    rest.finished(jobs[0])
    rest.started(jobs[1])
    rest.failed(jobs[1])
    assert rest.seconds() == pytest.approx(200, rel=0.05)
    rest.failed(jobs[2])
    assert rest.seconds() == 0


def test_without_jobs_there_is_nothing_left() -> None:
    assert RemainingTime([], 1, {}, lambda: 0.0).seconds() is None
    assert RemainingTime([], 2, {"cells/0": 12.0}, lambda: 0.0).seconds() is None


def test_jobs_that_cost_nothing_take_some_time() -> None:
    jobs = [Planned(f"cells/{number}", (), 0.0, 2.0) for number in range(3)]
    now = 0.0
    rest = RemainingTime(jobs, 1, {}, lambda: now)
    rest.started(jobs[0])
    now = 2.0
    rest.finished(jobs[0])
    assert rest.seconds() == pytest.approx(4.0)


def test_thousands_of_jobs_are_reckoned_at_once() -> None:
    jobs = study(18, 10, 20)
    now = 0.0
    rest = RemainingTime(jobs, 64, {}, lambda: now)
    for job in jobs[:64]:
        rest.started(job)
    now = 300.0
    rest.finished(jobs[0])
    total = sum(job.truth for job in jobs) / 64
    assert rest.seconds() == pytest.approx(total, rel=0.6)


def test_a_job_whose_first_word_is_its_last_counts_as_a_whole_one() -> None:
    now, jobs = 0.0, [Planned(f"cells/{number}", (), 5, 2.0) for number in range(4)]
    rest = RemainingTime(jobs, 1, {}, lambda: now)
    rest.started(jobs[0])
    now = 2.0
    rest.progressed(jobs[0], 2, 2)
    rest.finished(jobs[0])
    assert rest.seconds() == pytest.approx(6.0)
