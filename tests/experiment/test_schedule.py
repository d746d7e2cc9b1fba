from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import Fail

from sslkit import longest_first
from sslkit.experiment.schedule import makespan


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
