from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import Fail

from sslkit import longest_first
from sslkit.experiment.schedule import critical_path, enough_workers, makespan, play, processes_of


@dataclass(frozen=True)
class Wide(Fail):
    """A job of several processes."""

    processes: int = 2


def job(name: str, cost: float, after: tuple[str, ...] = ()) -> Fail:
    return Fail(name, "never run", after, cost)


def test_a_long_job_does_not_come_last() -> None:
    jobs = [job("a", 1), job("b", 1), job("c", 1), job("d", 1), job("long", 4)]
    assert makespan(jobs, 2, lambda job: job.cost) == 4


def test_what_a_job_waits_for_ends_first() -> None:
    jobs = [job("cell", 1, ("pretraining",)), job("other", 1), job("pretraining", 5)]
    assert makespan(jobs, 2, lambda job: job.cost) == 6
    assert [entry.id for entry in longest_first(jobs)] == ["pretraining", "cell", "other"]


def test_what_is_done_already_is_not_waited_for() -> None:
    assert makespan([job("cell", 2, ("done",))], 3, lambda job: job.cost) == 2


@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(1, 4))
def test_it_lies_between_the_bounds_that_no_schedule_escapes(costs: list[int], workers: int) -> None:
    jobs = [job(str(number), cost) for number, cost in enumerate(costs)]
    found = makespan(jobs, workers, lambda job: job.cost)
    least = max(max(costs), sum(costs) / workers)
    # Graham 1969: longest first is at most 4/3 - 1/(3 m) of the best.
    assert least <= found <= sum(costs)
    assert found <= (4 / 3) * least + max(costs)


def test_on_one_worker_it_is_the_sum() -> None:
    jobs = [job("a", 3), job("b", 4, ("a",)), job("c", 5)]
    assert makespan(jobs, 1, lambda job: job.cost) == pytest.approx(12)


@st.composite
def graphs(draw: st.DrawFn) -> list[Fail]:
    """Jobs of one to three processes, each of which may wait for earlier ones."""
    jobs: list[Fail] = []
    for number in range(draw(st.integers(1, 9))):
        after = draw(st.lists(st.sampled_from([entry.id for entry in jobs]), unique=True)) if jobs else []
        cost = float(draw(st.integers(1, 9)))
        jobs.append(Wide(str(number), "never run", tuple(after), cost, draw(st.sampled_from([1, 1, 2, 3]))))
    return jobs


@given(graphs(), st.integers(1, 4))
def test_a_schedule_breaks_no_rule_and_wastes_nothing(jobs: list[Fail], workers: int) -> None:
    placed = {entry.job.id: entry for entry in play(jobs, workers, lambda job: job.cost)}
    assert placed.keys() == {entry.id for entry in jobs}

    def used(moment: float) -> int:
        return sum(processes_of(entry.job, workers) for entry in placed.values() if entry.start <= moment < entry.end)

    def may_begin(name: str, moment: float) -> bool:
        needed = placed[name].job.after
        return placed[name].start > moment and all(placed[other].end <= moment for other in needed)

    for entry in placed.values():
        ready = max((placed[name].end for name in entry.job.after), default=0.0)
        assert entry.end - entry.start == entry.job.cost
        assert entry.start >= ready
        assert used(entry.start) <= workers
        # At no moment between could it have begun, nor one before it that waited.
        for moment in {ready, *(other.end for other in placed.values())}:
            if ready <= moment < entry.start:
                front = next(job for job in longest_first(jobs) if may_begin(job.id, moment))
                assert used(moment) + processes_of(front, workers) > workers


@given(graphs())
def test_on_workers_without_end_it_is_the_critical_path(jobs: list[Fail]) -> None:
    chain = critical_path(jobs, lambda job: job.cost)
    assert all(before.id in after.after for before, after in pairwise(chain))
    assert not chain[0].after
    length = sum(job.cost for job in chain)
    assert makespan(jobs, 999, lambda job: job.cost) == length

    enough = enough_workers(jobs, lambda job: job.cost, margin=0.0)
    assert makespan(jobs, enough, lambda job: job.cost) == length


def test_jobs_of_several_processes_take_as_many_workers() -> None:
    wide = [Wide("a", "never run", (), 5, 2), Wide("b", "never run", (), 4, 2), job("c", 1)]
    placed = [(entry.job.id, entry.start) for entry in play(wide, 3, lambda job: job.cost)]
    assert placed == [("a", 0), ("b", 5), ("c", 5)]
    assert makespan(wide, 1, lambda job: job.cost) == 10


def test_of_no_job_there_is_no_path() -> None:
    assert critical_path([], lambda job: job.cost) == []
    assert enough_workers([], lambda job: job.cost) == 1
    assert makespan([], 2, lambda job: job.cost) == 0


def test_a_hundred_thousand_jobs_are_placed_in_seconds() -> None:
    jobs = [job(str(number), number % 7 + 1, () if number < 5 else (str(number % 5),)) for number in range(100_000)]
    assert makespan(jobs, 64, lambda job: job.cost) >= sum(entry.cost for entry in jobs) / 64
