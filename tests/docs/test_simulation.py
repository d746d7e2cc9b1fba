from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manual import load

from sslkit.experiment.schedule import critical_path, makespan

simulation = load("simulation")
Task, World, simulate = simulation.Task, simulation.World, simulation.simulate

ORDERS = ["longest", "plan", "random", "shortest"]


@st.composite
def studies(draw: st.DrawFn, processes: int = 1) -> list[Any]:
    tasks: list[Any] = []
    for number in range(draw(st.integers(1, 10))):
        after = draw(st.lists(st.sampled_from([task.id for task in tasks]), unique=True)) if tasks else []
        seconds = float(draw(st.integers(1, 20)))
        tasks.append(Task(str(number), seconds, tuple(after), draw(st.integers(1, processes))))
    return tasks


def length(tasks: list[Any]) -> float:
    return sum(task.cost for task in critical_path(tasks, lambda task: task.cost))


@given(studies(processes=3), st.integers(1, 5))
def test_where_nothing_goes_wrong_it_is_the_schedule_of_the_dry_run(tasks: list[Any], workers: int) -> None:
    planned = makespan(tasks, workers, lambda task: task.cost)
    assert simulate(tasks, World(workers)) == planned


@given(studies(), st.sampled_from(ORDERS))
def test_one_worker_takes_the_sum_and_many_the_critical_path(tasks: list[Any], order: str) -> None:
    assert simulate(tasks, World(1, order=order)) == sum(task.seconds for task in tasks)
    assert simulate(tasks, World(99, order=order)) == length(tasks)


@given(studies(), st.integers(1, 6), st.sampled_from(ORDERS))
def test_no_order_breaks_grahams_bound(tasks: list[Any], workers: int, order: str) -> None:
    # Graham 1969: whatever the order, total / W + (1 - 1 / W) x critical path, and so at most 2 - 1 / W of the best.
    found = simulate(tasks, World(workers, order=order))
    total = sum(task.seconds for task in tasks)
    assert max(total / workers, length(tasks)) <= found + 1e-9
    assert found <= total / workers + (1 - 1 / workers) * length(tasks) + 1e-9


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 3))
def test_longest_first_is_within_grahams_bound_of_the_best_of_all_schedules(costs: list[int], workers: int) -> None:
    tasks = [Task(str(number), float(cost)) for number, cost in enumerate(costs)]
    best = min(
        max(sum(cost for cost, place in zip(costs, places, strict=True) if place == own) for own in range(workers))
        for places in itertools.product(range(workers), repeat=len(costs))
    )
    assert best <= simulate(tasks, World(workers)) <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9


@pytest.mark.parametrize(("jobs", "workers"), [(250, 16), (7, 7), (1, 512)])
def test_equal_jobs_take_whole_rounds_and_every_try_its_start(jobs: int, workers: int) -> None:
    tasks = [Task(str(number), 10.0) for number in range(jobs)]
    assert simulate(tasks, World(workers, start=2.0)) == pytest.approx(math.ceil(jobs / workers) * 12.0)


def test_a_job_that_begins_anew_takes_as_long_as_the_closed_form_says() -> None:
    # Of work d under failures at a rate r: (exp(r d) - 1) / r.
    found = statistics.fmean(simulate([Task("a", 3600.0)], World(1, failures=0.7), seed) for seed in range(4000))
    assert found == pytest.approx(3600 * (math.exp(0.7) - 1) / 0.7, rel=0.05)


def test_a_job_with_checkpoints_loses_what_came_after_the_last() -> None:
    # Of n intervals of t seconds: n (exp(r t) - 1) / r.
    task = Task("a", 3600.0, checkpoint=900.0)
    found = statistics.fmean(simulate([task], World(1, failures=2.0), seed) for seed in range(4000))
    assert found == pytest.approx(3600 * 4 * (math.exp(0.5) - 1) / 2.0, rel=0.05)


def test_several_processes_fail_as_often_as_they_are_many() -> None:
    task = Task("a", 3600.0, processes=4)
    found = statistics.fmean(simulate([task], World(4, failures=0.2), seed) for seed in range(4000))
    assert found == pytest.approx(3600 * (math.exp(0.8) - 1) / 0.8, rel=0.05)


def test_slow_nodes_make_the_mean_of_a_pareto_distribution() -> None:
    world = World(1, slow_share=0.5, slow_tail=3.0, slow_most=math.inf)
    found = statistics.fmean(simulate([Task("a", 10.0)], world, seed) for seed in range(8000))
    assert found == pytest.approx(10 * (0.5 + 0.5 * 1.5), rel=0.05)


def test_a_copy_ends_a_straggler_where_a_worker_is_idle() -> None:
    tasks = [Task("first", 10.0), *(Task(f"{number}", 4.0) for number in range(12))]
    slow = World(4, slow_share=0.3, slow_tail=0.5, slow_most=99.0)
    alone = [simulate(tasks, slow, seed) for seed in range(100)]
    copied = [simulate(tasks, replace(slow, copies=True), seed) for seed in range(100)]
    assert statistics.fmean(copied) < 0.8 * statistics.fmean(alone)


def test_the_same_seed_gives_the_same_run() -> None:
    tasks = [Task(str(number), 100.0 + number) for number in range(40)]
    world = World(4, start=1.0, slow_share=0.2, failures=3.0)
    assert simulate(tasks, world, 7) == simulate(tasks, world, 7) != simulate(tasks, world, 8)
