"""The queue of jobs that executors keep, against a model of the same promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobs import Note

from sslkit import NOT_RUN, Job, JobObserver, JobQueue


class Told(JobObserver):
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def started(self, job: Job) -> None:
        self.events.append(("started", job.id, ""))

    def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        self.events.append(("progressed", job.id, values["warning"]))

    def finished(self, job: Job) -> None:
        self.events.append(("finished", job.id, ""))

    def failed(self, job: Job, reason: str) -> None:
        self.events.append(("failed", job.id, reason))

    def of(self, name: str) -> list[str]:
        return [event for event, job, _ in self.events if job == name]

    def reason(self, name: str) -> str:
        return next(reason for event, job, reason in self.events if (event, job) == ("failed", name))


def job(name: str, *after: str, cost: float = 1.0) -> Note:
    return Note(name, None, after, cost)  # type: ignore[arg-type]  # none of them is carried out


def names(queue: JobQueue) -> list[str]:
    return [job.id for job in queue.ready()]


def test_a_job_that_died_comes_before_all_others_and_is_started_but_once() -> None:
    told = Told()
    queue = JobQueue([long := job("long", cost=9), short := job("short")], told)
    assert names(queue) == ["long", "short"]
    queue.started(short)
    queue.died(short, "its process was killed")
    assert names(queue) == ["short", "long"]
    assert queue.tried(short)
    assert not queue.tried(long)
    queue.started(short)
    assert told.of("short") == ["started", "progressed"]
    assert told.events[-1][2] == "its process was killed; it is tried once more"
    queue.died(short, "its process was killed", "Buy memory.")
    assert told.reason("short") == "its process was killed, for the second time. Buy memory."
    assert names(queue) == ["long"]


def test_a_machine_may_fail_more_often_than_a_process() -> None:
    told = Told()
    queue = JobQueue([wanderer := job("wanderer")], told)
    for _ in range(3):
        queue.started(wanderer)
        queue.died(wanderer, "its node was lost", tries=4)
    queue.started(wanderer)
    queue.died(wanderer, "its node was lost", tries=4)
    assert told.reason("wanderer") == "its node was lost, for the 4th time."
    assert not queue


def test_jobs_that_wait_for_one_another_are_refused() -> None:
    queue = JobQueue([job("a", "b"), job("b", "a"), free := job("free")], Told())
    assert names(queue) == ["free"]
    queue.started(free)
    assert names(queue) == []
    queue.finished(free)
    with pytest.raises(ValueError, match=r"^the jobs a, b wait for one another$"):
        queue.ready()


@given(st.data())
def test_all_jobs_end_once_each_behind_those_that_it_needs(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 8))
    after = [data.draw(st.sets(st.integers(0, place - 1))) if place else set() for place in range(number)]
    jobs = [job(str(place), *map(str, before)) for place, before in enumerate(after)]
    told = Told()
    queue = JobQueue(data.draw(st.permutations(jobs)), told)
    running: list[Job] = []
    fates: dict[str, str] = {}
    while queue:
        ready = queue.ready()
        assert all({fates.get(name) for name in job.after} <= {"well"} for job in ready)
        if (ready and data.draw(st.booleans())) or not running:
            queue.started(ready[0])
            running.append(ready[0])
            continue
        ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
        fate = data.draw(st.sampled_from(["well", "well", "raises", "dies"]))
        if fate == "well":
            queue.finished(ended)
        elif fate == "raises":
            queue.failed(ended, "it raised")
        else:
            fate = "died" if queue.tried(ended) else "tried"
            queue.died(ended, "it died")
        fates[ended.id] = fate
    lost = {name for name, fate in fates.items() if fate in ("raises", "died")}
    for waiting in jobs:  # each stands behind those that it needs
        if waiting.id not in fates:
            assert lost.intersection(waiting.after)
            assert told.of(waiting.id) == ["failed"]
            assert told.reason(waiting.id).startswith(NOT_RUN)
            lost.add(waiting.id)
        else:
            assert told.of(waiting.id).count("started") == 1
            assert told.of(waiting.id)[-1] == ("failed" if waiting.id in lost else "finished")
