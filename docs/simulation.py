"""A run on many workers, event by event: nodes that are slow, processes that die, jobs that wait for one another."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Order = Literal["longest", "plan", "random", "shortest"]


@dataclass(frozen=True)
class Task:
    """A job of a run; what an executor asks of a job, and how long it takes.

    Attributes:
        id: its name.
        seconds: it takes on a node that is as quick as it should be.
        after: names of the jobs that it waits for.
        processes: workers that it takes.
        checkpoint: seconds of work between checkpoints, from the last of which it goes on; 0: it begins anew.
    """

    id: str
    seconds: float
    after: tuple[str, ...] = ()
    processes: int = 1
    checkpoint: float = 0.0

    @property
    def cost(self) -> float:
        """What decides the order."""
        return self.seconds


@dataclass(frozen=True)
class World:
    """What jobs run on.

    Attributes:
        workers: processes at a time.
        start: seconds that every try of a job takes to begin.
        slow_share: share of the tries that meet a slow node.
        slow_tail: exponent of the Pareto distribution of how many times slower it is.
        slow_most: times slower it is at most.
        failures: of a worker, an hour.
        order: which of the jobs that may begin goes first.
        copies: whether an idle worker begins a copy of a job that takes half as long again as it should.
    """

    workers: int
    start: float = 0.0
    slow_share: float = 0.0
    slow_tail: float = 1.5
    slow_most: float = 5.0
    failures: float = 0.0
    order: Order = "longest"
    copies: bool = False


@dataclass
class _State:
    """What is left of a task, and its tries under way: when each began, and which event will end it."""

    task: Task
    left: float
    rank: float
    waits: int
    tries: dict[int, float] = field(default_factory=dict)


def simulate(tasks: Sequence[Task], world: World, seed: int = 0) -> float:
    """Return the seconds until the last task is done.

    Args:
        tasks: what is to be done; none waits for itself.
        world: what it runs on.
        seed: of all draws.

    Example:
        >>> simulate([Task("a", 3.0), Task("b", 4.0, after=("a",)), Task("c", 5.0)], World(workers=2))
        7.0
    """
    # Two streams, so that failures do not change which tries meet a slow node, and the cost of each can be compared.
    slow, failing = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    states = _states(tasks, world.order, np.random.default_rng([seed, 2]))
    followers: dict[str, list[str]] = {}
    for task in tasks:
        for name in task.after:
            followers.setdefault(name, []).append(task.id)
    ready = [(state.rank, name) for name, state in states.items() if state.waits == 0]
    heapq.heapify(ready)
    events: list[tuple[float, int, str, float]] = []
    free, now, number, done = world.workers, 0.0, 0, 0

    def begin(name: str) -> None:
        nonlocal free, number
        state = states[name]
        slower = 1.0
        if slow.random() < world.slow_share:
            slower = min(world.slow_most, (1 - slow.random()) ** (-1 / world.slow_tail))
        number += 1
        places = min(state.task.processes, world.workers)
        lasts = world.start + state.left * slower
        dies = failing.exponential(3600 / (world.failures * places)) if world.failures else np.inf
        # What is done of it by the end: all, or what the last checkpoint holds.
        made = state.left
        if dies < lasts:
            worked, every = max(0.0, dies - world.start) / slower, state.task.checkpoint
            made = min(state.left, worked // every * every) if every else 0.0
        heapq.heappush(events, (now + min(dies, lasts), number, name, made if dies < lasts else np.inf))
        state.tries[number] = now
        free -= places

    while done < len(states):
        while ready and min(states[ready[0][1]].task.processes, world.workers) <= free:
            begin(heapq.heappop(ready)[1])
        if world.copies and not ready:
            for name in _late(states, world, now)[:free]:
                begin(name)
        now, ended, name, made = heapq.heappop(events)
        state = states[name]
        if ended not in state.tries:
            continue  # a copy was first
        if made == np.inf:
            free += len(state.tries) * min(state.task.processes, world.workers)
            state.tries.clear()
            done += 1
            for other in followers.get(name, ()):
                states[other].waits -= 1
                if states[other].waits == 0:
                    heapq.heappush(ready, (states[other].rank, other))
        else:
            free += min(state.task.processes, world.workers)
            del state.tries[ended]
            state.left -= made
            if not state.tries:
                heapq.heappush(ready, (state.rank, name))
    return now


def _states(tasks: Sequence[Task], order: Order, rng: np.random.Generator) -> dict[str, _State]:
    """Return the tasks as they stand at first, ranked: the lowest goes first."""
    from sslkit import longest_first

    ranked: Sequence[Task] = tasks
    if order in ("longest", "shortest"):
        ranked = longest_first(tasks)  # type: ignore[arg-type, assignment]  # a task is all of a job but the doing
        ranked = ranked if order == "longest" else ranked[::-1]
    elif order == "random":
        ranked = [tasks[place] for place in rng.permutation(len(tasks))]
    rank = {task.id: float(number) for number, task in enumerate(ranked)}
    return {task.id: _State(task, task.seconds, rank[task.id], len(task.after)) for task in tasks}


def _late(states: dict[str, _State], world: World, now: float) -> list[str]:
    """Return the jobs under way, once, that have no checkpoint and take half as long again as they should."""
    late = []
    for name, state in states.items():
        if len(state.tries) == 1 and not state.task.checkpoint and state.task.processes == 1:
            over = (now - next(iter(state.tries.values()))) / (world.start + state.left)
            if over > 1.5:
                late.append((-over, name))
    return [name for _, name in sorted(late)]
