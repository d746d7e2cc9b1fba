from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from heard import Heard
from jobs import Note
from submitit.core.utils import JobPaths

from sslkit import Job, MovableJob
from sslkit.errors import RunError
from sslkit_slurm import SlurmConfig, campaign, queue
from sslkit_slurm.campaign import LEDGER, Campaign
from sslkit_slurm.clusters import Refused, Slurm
from sslkit_slurm.task import Task


class Pretended(Slurm):
    """A cluster that keeps its arrays' throttles; at each look, what runs ends and what waits begins.

    Attributes:
        arrays: number of jobs of each array that was handed over.
        most: most jobs that ran at a time.
        raised: throttles that were raised.
        ends: how jobs end that do not end well: their states, one after another.
        refusals: what sbatch says before it takes jobs.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.config, self.folder, self.poll_seconds = SlurmConfig(), folder, 0.0
        self.arrays: list[int] = []
        self.throttle: dict[str, int] = {}
        self.tasks: dict[str, Task] = {}
        self.state: dict[str, str] = {}
        self.most = 0
        self.raised: list[tuple[str, int]] = []
        self.ends: dict[str, list[str]] = {}
        self.refusals: list[str] = []
        self.cancelled: list[str] = []

    def submit(self, tasks: Sequence[Task], processes: int, at_a_time: int) -> list[Any]:
        if self.refusals:
            raise Refused(self.refusals.pop(0))
        self.arrays.append(len(tasks))
        array = str(len(self.arrays))
        self.throttle[array] = max(1, at_a_time // processes)
        handles = []
        for place, task in enumerate(tasks):
            name = f"{array}_{place}"
            self.tasks[name], self.state[name] = task, "PENDING"
            paths = JobPaths(self.folder, name)
            handles.append(SimpleNamespace(job_id=name, paths=paths, result=lambda paths=paths: read(paths)))
        return handles

    def states(self, handles: Collection[Any]) -> dict[str, tuple[str, str]] | None:
        for name in [name for name, state in self.state.items() if state == "RUNNING"]:
            self.state[name] = self.end(name)
        for name, state in self.state.items():
            array = name.partition("_")[0]
            if state == "PENDING" and self.running(array) < self.throttle[array]:
                self.state[name] = "RUNNING"
                self.tasks[name].told.write_text(json.dumps({"node": "n1"}) + "\n")
        running = [self.tasks[name].job.processes for name, state in self.state.items() if state == "RUNNING"]
        self.most = max(self.most, sum(running))
        return {name: (state, "n1") for name, state in self.state.items()}

    def running(self, array: str) -> int:
        return sum(name.startswith(f"{array}_") and state == "RUNNING" for name, state in self.state.items())

    def end(self, name: str) -> str:
        if ends := self.ends.get(self.tasks[name].job.id):
            return ends.pop(0)
        path = JobPaths(self.folder, name).result_pickle
        path.write_bytes(pickle.dumps(None))
        return "COMPLETED"

    def cancel(self, handles: Collection[Any]) -> None:
        self.cancelled += [handle.job_id for handle in handles]

    def let_run(self, array: str, at_a_time: int) -> None:
        self.raised.append((array, at_a_time))
        self.throttle[array] = at_a_time

    def how_it_ended(self, job: str, state: str) -> str:
        return f"is {state}"


def read(paths: JobPaths) -> Any:
    return pickle.loads(paths.result_pickle.read_bytes())


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    monkeypatch.setattr(campaign, "_LATE", 0.0)
    monkeypatch.setattr(Pretended, "soon", 0.0)
    return Pretended(tmp_path / "slurm" / "call")


def work(cluster: Pretended, jobs: Sequence[Job], at_a_time: int) -> Heard:
    heard = Heard()
    Campaign(cluster, jobs, at_a_time, heard).work()
    return heard


def study(log: Path, *, pretrainings: int = 5, cells: int = 50) -> list[Note]:
    """Jobs like a run's: each pretraining with the cells that wait for it, and as many that wait for none."""
    first = [Note(f"pretraining/{number}", log, cost=99.0) for number in range(pretrainings)]
    needy = [Note(f"cells/{n}-{m}", log, (f"pretraining/{n}",)) for n in range(pretrainings) for m in range(cells // 2)]
    return [*first, *needy, *(Note(f"cells/{n}-scratch", log) for n in range(cells // 2))]


def test_hundreds_of_jobs_take_a_few_arrays_and_never_more_than_is_allowed(cluster: Pretended, tmp_path: Path) -> None:
    jobs = study(tmp_path / "log", cells=80)
    heard = work(cluster, jobs, at_a_time=8)
    assert heard.all("finished") == {job.id for job in jobs}
    assert (len(jobs), sum(cluster.arrays)) == (245, 245)
    assert len(cluster.arrays) <= 4
    assert cluster.most == 8
    assert not list(cluster.folder.iterdir())  # what went well leaves no files


def test_a_later_array_gets_the_room_that_an_earlier_one_leaves(cluster: Pretended, tmp_path: Path) -> None:
    log = tmp_path / "log"
    slow = {f"slow-{number}": ["RUNNING"] * (9 + 3 * number) for number in range(3)}
    cluster.ends = dict(slow)
    jobs = [Note("first", log, cost=99.0), *(Note(name, log, cost=50.0) for name in slow)]
    work(cluster, [*jobs, *(Note(f"after-{n}", log, ("first",)) for n in range(30))], at_a_time=4)
    assert cluster.arrays == [4, 30]
    assert cluster.most == 4
    assert cluster.raised == [("2", 2), ("2", 3), ("2", 4)]


def test_jobs_of_several_processes_are_arrays_of_their_own(cluster: Pretended, tmp_path: Path) -> None:
    log = tmp_path / "log"
    large = [Note(f"large-{number}", log, cost=9.0, processes=4) for number in range(3)]
    heard = work(cluster, [*large, *(Note(f"small-{number}", log) for number in range(4))], at_a_time=8)
    assert len(heard.all("finished")) == 7
    assert cluster.arrays == [3, 4]
    assert cluster.most == 8


def test_a_job_larger_than_all_there_is_runs_alone(cluster: Pretended, tmp_path: Path) -> None:
    heard = work(cluster, [Note("large", tmp_path / "log", processes=16)], at_a_time=4)
    assert heard.all("finished") == {"large"}


def test_a_job_has_started_when_it_runs_and_not_when_it_is_handed_over(cluster: Pretended, tmp_path: Path) -> None:
    heard = work(cluster, [Note("a", tmp_path / "log"), Note("b", tmp_path / "log")], at_a_time=1)
    assert heard.events == [("started", "a"), ("finished", "a"), ("started", "b"), ("finished", "b")]


@pytest.mark.parametrize("state", ["FAILED", "NODE_FAIL", "OUT_OF_MEMORY", queue.GONE, "TIMEOUT"])
def test_a_job_whose_process_dies_is_tried_once_more(cluster: Pretended, tmp_path: Path, state: str) -> None:
    cluster.ends = {"a": [state], "b": [state, state]}
    heard = work(cluster, [Note("a", tmp_path / "log"), Note("b", tmp_path / "log")], at_a_time=2)
    assert heard.all("finished") == {"a"}
    assert heard.all("failed") == {"b"}
    assert [event for event in heard.events if event[1] == "b"] == [("started", "b"), ("failed", "b")]
    assert heard.progress["a"][0]["warning"].endswith("; it is tried once more")
    assert "for the second time" in heard.reasons["b"]


def test_the_reason_of_a_death_holds_the_end_of_the_log_and_where_it_is(cluster: Pretended, tmp_path: Path) -> None:
    cluster.ends = {"a": ["FAILED", "FAILED"]}
    logs = [JobPaths(cluster.folder, f"{array}_0").stderr for array in (1, 2)]
    for log in logs:
        log.write_text("".join(f"line {number}\n" for number in range(30)))
    reason = work(cluster, [Note("a", tmp_path / "log")], at_a_time=2).reasons["a"]
    assert reason.startswith("its process on n1, job 2_0, is FAILED, for the second time. The end of its log, ")
    assert f"{logs[1]}:\n  line 10\n" in reason
    assert "  line 29\nRun the same command again, with more executor.memory" in reason
    assert all(log.exists() for log in logs)


def test_the_reason_says_where_the_log_would_be(cluster: Pretended, tmp_path: Path) -> None:
    cluster.ends = {"a": ["FAILED", "FAILED"]}
    reason = work(cluster, [Note("a", tmp_path / "log")], at_a_time=2).reasons["a"]
    assert "2_0_0_log.err, and is not there: is the folder on a disk that all nodes see?" in reason


def test_a_time_limit_that_was_too_short_says_what_to_raise(cluster: Pretended, tmp_path: Path) -> None:
    cluster.ends = {"a": ["TIMEOUT", "TIMEOUT"]}
    reason = work(cluster, [Note("a", tmp_path / "log")], at_a_time=2).reasons["a"]
    assert "had not come to a safe point when its time was up, for the second time. Raise executor.time" in reason


def test_preemption_that_cancels_is_no_death(cluster: Pretended, tmp_path: Path) -> None:
    cluster.ends = {"a": ["PREEMPTED"] * 5 + ["FAILED"]}
    heard = work(cluster, [Note("a", tmp_path / "log")], at_a_time=2)
    assert heard.all("finished") == {"a"}


def test_a_job_that_somebody_cancels_has_failed_and_takes_those_that_need_it_along(
    cluster: Pretended, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    cluster.ends = {"a": ["CANCELLED"]}
    heard = work(cluster, [Note("a", log), Note("b", log, ("a",)), Note("c", log)], at_a_time=2)
    assert heard.reasons["a"] == "it was cancelled as job 1_0; the same command begins it again"
    assert heard.reasons["b"].startswith("not run: it needs a")
    assert heard.all("finished") == {"c"}


def test_a_result_may_come_after_the_process_has_ended(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "_LATE", 30.0)
    looks = 0
    written = Path.write_bytes

    def late(path: Path, data: bytes) -> int:
        nonlocal looks
        looks += 1
        return 0 if looks == 1 else written(path, data)

    end = cluster.end
    monkeypatch.setattr(Path, "write_bytes", late)
    monkeypatch.setattr(cluster, "end", end)
    states = cluster.states

    def again(handles: Collection[Any]) -> dict[str, tuple[str, str]] | None:
        if looks == 1:
            cluster.state["1_0"] = "RUNNING"  # it ends once more, and this time the result can be seen
        return states(handles)

    monkeypatch.setattr(cluster, "states", again)
    heard = work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)
    assert heard.events == [("started", "a"), ("finished", "a")]
    assert looks == 2


def test_a_job_that_is_queued_again_is_told_of_and_started_once(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(name: str) -> str:
        told = cluster.tasks[name].told
        if told.read_text().count("node") == 1:
            told.write_text(told.read_text() + json.dumps({"node": "n2"}) + "\n")
            return "RUNNING"
        return Pretended.end(cluster, name)

    monkeypatch.setattr(cluster, "end", end)
    heard = work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)
    assert heard.events == [("started", "a"), ("finished", "a")]
    told = "it was sent back to the queue, preempted or its time up, and runs again on n2"
    assert heard.progress["a"] == [{"warning": told}]


def test_half_a_line_is_read_when_it_is_whole(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ['{"node": "n1"}\n{"told": {"done"', ': 1, "total": 2}}\n', '{"told": {"done": 2, "total": 2}}\n']
    pending = list(texts)

    def end(name: str) -> str:
        if pending:
            with cluster.tasks[name].told.open("a") as file:
                file.write(pending.pop(0))
            return "RUNNING"
        return Pretended.end(cluster, name)

    monkeypatch.setattr(cluster, "end", end)
    heard = work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)
    assert [told for told in heard.progress["a"] if "warning" not in told] == [
        {"done": 1, "total": 2},
        {"done": 2, "total": 2},
    ]


def test_what_a_killed_process_had_half_written_is_passed_over(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ['{"told": {"done": 1, "to', '\n{"node": "n2"}\n', '{"told": {"done": 1, "total": 2}}\n']

    def end(name: str) -> str:
        if texts:
            with cluster.tasks[name].told.open("a") as file:
                file.write(texts.pop(0))
            return "RUNNING"
        return Pretended.end(cluster, name)

    monkeypatch.setattr(cluster, "end", end)
    heard = work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)
    assert heard.events == [("started", "a"), ("finished", "a")]
    warned, told = heard.progress["a"]
    assert warned["warning"].endswith("runs again on n2")
    assert told == {"done": 1, "total": 2}


def test_a_scheduler_that_is_busy_is_asked_again(cluster: Pretended, tmp_path: Path) -> None:
    cluster.refusals = ["sbatch: error: Socket timed out on send/recv operation"] * 3
    heard = work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)
    assert heard.all("finished") == {"a"}
    (told,) = heard.progress["a"]  # three refusals in a moment are told once
    assert told["warning"].startswith("Slurm does not take jobs now, and is asked again: sbatch: error: Socket timed")


def test_what_slurm_never_takes_ends_the_run_with_its_words(cluster: Pretended, tmp_path: Path) -> None:
    cluster.refusals = ["sbatch: error: invalid partition specified: gpu"]
    with pytest.raises(RunError, match=r"Slurm does not take the jobs: sbatch: error: invalid partition.*table \[exec"):
        work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)


def test_more_jobs_than_a_user_may_have_says_what_to_lower(cluster: Pretended, tmp_path: Path) -> None:
    cluster.refusals = ["sbatch: error: QOSMaxSubmitJobPerUserLimit"]
    with pytest.raises(RunError, match=r"QOSMaxSubmitJobPerUserLimit; lower executor.array_size"):
        work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)


def test_a_scheduler_that_does_not_answer_is_waited_for(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "_SILENCE", 0.0)
    states, silent = cluster.states, [True, True]
    monkeypatch.setattr(cluster, "states", lambda handles: None if silent and silent.pop() else states(handles))
    heard = work(cluster, [Note("a", tmp_path / "log")], at_a_time=1)
    assert heard.all("finished") == {"a"}
    assert heard.progress["a"][0]["warning"].startswith("Slurm has not answered for")


def test_jobs_that_wait_for_one_another_are_refused(cluster: Pretended, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(ValueError, match=r"the jobs a, b wait for one another"):
        work(cluster, [Note("a", log, ("b",)), Note("b", log, ("a",))], at_a_time=1)


def test_stopping_cancels_what_is_on_the_cluster(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "states", lambda ids: {name: ("CANCELLED", "") for name in ids})
    stopped = Campaign(cluster, [Note("a", tmp_path / "log"), Note("b", tmp_path / "log")], 2, Heard())
    stopped._submit()
    assert json.loads((cluster.folder.parent / LEDGER).read_text()) == {"1_0": "a", "1_1": "b"}
    stopped.stop(patience=5)
    assert cluster.cancelled == ["1_0", "1_1"]
    assert [path.name for path in cluster.folder.parent.iterdir()] == ["call"]


def test_what_was_not_seen_to_end_is_left_to_the_next_call(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "states", lambda ids: None)
    stopped = Campaign(cluster, [Note("a", tmp_path / "log")], 2, Heard())
    stopped._submit()
    stopped.stop(patience=0)
    assert json.loads((cluster.folder.parent / LEDGER).read_text()) == {"1_0": "a"}


@pytest.mark.parametrize(
    ("ledger", "cancelled"),
    [
        ('{"7_0": "a", "7_1": "b"}', ["7_0"]),
        ('{"--user=root": "a"}', []),
        ("[3", []),
        ("7", []),
    ],
    ids=["of an earlier call", "no ids", "damaged", "no table"],
)
def test_what_a_killed_call_left_on_the_cluster_is_cancelled_first(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger: str, cancelled: list[str]
) -> None:
    (cluster.folder.parent / LEDGER).write_text(ledger)
    left = cluster.folder.parent / "earlier"
    left.mkdir()
    (left / "7_0_submitted.pkl").touch()
    asked: list[str] = []
    alive = {"7_0": "RUNNING", "7_1": "COMPLETED"}

    def cancel(ids: Sequence[str]) -> None:
        asked.extend(ids)
        alive["7_0"] = "CANCELLED"

    monkeypatch.setattr(queue, "states", lambda ids: {name: (alive[name], "") for name in ids})
    monkeypatch.setattr(queue, "cancel", cancel)
    heard = Heard()
    Campaign(cluster, [Note("a", tmp_path / "log")], 2, heard).cancel_earlier(patience=5)
    assert asked == cancelled
    assert bool(heard.progress) == bool(cancelled)
    if cancelled:
        assert heard.progress["a"][0]["warning"].startswith("1 jobs of an earlier call are still on the cluster")
        assert not list(left.iterdir())


def test_what_is_left_is_cancelled_where_slurm_does_not_say_what_became_of_it(
    cluster: Pretended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cluster.folder.parent / LEDGER).write_text('{"7_0": "a"}')
    asked: list[str] = []
    monkeypatch.setattr(queue, "states", lambda ids: None)
    monkeypatch.setattr(queue, "cancel", asked.extend)
    Campaign(cluster, [Note("a", tmp_path / "log")], 2, Heard()).cancel_earlier(patience=0)
    assert asked == ["7_0"]


def test_a_run_s_jobs_say_what_a_node_must_see(cluster: Pretended, tmp_path: Path) -> None:
    class Placed(Note):
        run = folder = tmp_path
        cache = tmp_path / "cache"
        images = (cache / "list", cache / "shard")
        reads = ()
        device = "cpu"
        moved = adopt = Note.execute

    job = Placed("a", tmp_path / "log")
    assert isinstance(job, MovableJob)
    assert not isinstance(Note("b", tmp_path / "log"), MovableJob)
    Campaign(cluster, [job, Note("b", tmp_path / "log")], 2, Heard())._submit()
    assert [task.places for task in cluster.tasks.values()] == [(job.run, job.images[0]), ()]
