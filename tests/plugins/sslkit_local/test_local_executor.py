from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from forking import warm_context
from heard import Heard
from jobs import DieOnce, Fail, LoadLibraries, Note, Steps, TakeThreads, Tell, Wait

import sslkit_local
from sslkit import Job, PluginConfig
from sslkit_local import Local, sharing, sslkit_executors, worker

pytestmark = pytest.mark.usefixtures("_warm")


@pytest.fixture(scope="module")
def _warm() -> None:
    warm_context()


def run(jobs: Sequence[Job], workers: int = 2) -> Heard:
    heard = Heard()
    Local(PluginConfig()).run(jobs, workers, heard)
    return heard


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def most_at_once(log: Path) -> int:
    running, most = 0, 0
    for line in lines(log):
        running += 1 if line.endswith("begins") else -1
        most = max(most, running)
    return most


def test_the_hook_returns_the_class() -> None:
    assert list(sslkit_executors()) == [Local]
    assert Local.name == "local"


def test_without_jobs_nothing_happens() -> None:
    assert run([]).events == []


def test_a_job_begins_when_those_it_waits_for_have_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [Note("c", log, ("a", "b")), Note("b", log, ("a",)), Note("a", log, seconds=0.1), Note("d", log, ("b",))]
    heard = run(jobs, workers=4)
    assert lines(log)[:4] == ["a begins", "a ends", "b begins", "b ends"]
    assert heard.events[:4] == [("started", "a"), ("finished", "a"), ("started", "b"), ("finished", "b")]
    assert heard.all("finished") == {"a", "b", "c", "d"}


def test_what_a_job_waits_for_may_be_done_already(tmp_path: Path) -> None:
    assert run([Note("a", tmp_path / "log", ("pretraining/done",))]).all("finished") == {"a"}


def test_jobs_begin_in_the_order_given_where_nothing_else_is_asked(tmp_path: Path) -> None:
    run([Note(name, tmp_path / "log") for name in "dbca"], workers=1)
    assert lines(tmp_path / "log") == [f"{name} {word}" for name in "dbca" for word in ("begins", "ends")]


def test_the_job_that_most_work_waits_for_begins_first(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [Note("long", log, cost=4), Note("short", log), Note("start", log, cost=2), Note("end", log, ("start",), 3)]
    run(jobs, workers=1)
    assert [line.split()[0] for line in lines(log)[::2]] == ["start", "long", "end", "short"]


def test_a_job_that_takes_more_threads_fails_before_its_result_stands(tmp_path: Path) -> None:
    heard = run([TakeThreads("greedy", tmp_path), Note("a", tmp_path / "log")])
    assert heard.all("failed") == {"greedy"}
    assert heard.reasons["greedy"].startswith("a plugin computes in 3 threads where a job has 1")
    assert not (tmp_path / "result").exists()


def test_libraries_that_a_job_loads_keep_to_one_thread() -> None:
    heard = run([LoadLibraries("a")])
    assert (heard.reasons, heard.all("finished")) == ({}, {"a"})


def test_no_more_jobs_run_at_a_time_than_workers(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run([Note(str(number), log, seconds=0.5) for number in range(6)], workers=3)
    assert most_at_once(log) in (2, 3)  # a busy machine may be slow to start the third


def test_a_job_of_several_processes_takes_as_many_places(tmp_path: Path) -> None:
    log = tmp_path / "log"
    wide = Note("wide", log, cost=9, seconds=0.2, processes=2)
    wider = Note("wider", log, cost=8, seconds=0.2, processes=9)
    run([*(Note(str(number), log, seconds=0.2) for number in range(2)), wide, wider], workers=2)
    assert lines(log)[:4] == ["wide begins", "wide ends", "wider begins", "wider ends"]
    assert most_at_once(log) in (1, 2)  # a busy machine may be slow to start the second


def test_jobs_have_gpus_of_their_own_whatever_their_processes() -> None:
    def slots(*processes: int) -> list[int]:
        running: list[Any] = []
        for number in processes:
            slot = sslkit_local._free_slot(running, number)
            running.append(SimpleNamespace(slot=slot, job=SimpleNamespace(processes=number)))
        return [entry.slot for entry in running]

    assert slots(1, 1, 1) == [0, 1, 2]
    assert slots(2, 2) == [0, 1]  # of the GPUs 0 and 1, and of 2 and 3
    assert slots(2, 1, 1, 1) == [0, 2, 3, 4]
    assert slots(1, 2, 1) == [0, 1, 1]


def test_the_last_jobs_share_no_cores_where_one_has_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sslkit_local, "_cores", lambda: 2)
    monkeypatch.setattr(sharing, "free_memory", lambda: 2**40)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    running: Any = [SimpleNamespace(job=Note(str(n), Path()), left=1.0, peak=1, again=False) for n in range(2)]
    assert sslkit_local._share_cores(running, [Note("last", Path())], 2)
    assert not sslkit_local._share_cores(running, [Note("last", Path(), processes=2)], 2)


def test_a_second_interrupt_ends_jobs_by_force() -> None:
    class Process:
        def __init__(self) -> None:
            self.ends: list[str] = []

        def terminate(self) -> None: ...

        def kill(self) -> None:
            self.ends.append("killed")

        def join(self, timeout: float | None = None) -> None:
            if timeout is not None:
                raise KeyboardInterrupt

    workers: Any = [SimpleNamespace(process=Process()) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        worker.stop(workers)
    assert [each.process.ends for each in workers] == [["killed"], ["killed"]]


def test_progress_arrives_and_each_job_is_a_process_of_one_thread() -> None:
    # The jobs hold arrays, which have no truth value when they are compared.
    jobs = [Tell(np.arange(number + 2), str(number), seconds=0.3 / (number + 1)) for number in range(3)]
    heard = run(jobs)
    assert heard.all("finished") == {"0", "1", "2"}
    last = [heard.progress[job.id].pop() for job in jobs]
    assert [values["sum"] for values in last] == [1, 3, 6]
    assert [values["threads"] for values in last] == [1, 1, 1]
    assert len({os.getpid(), *(values["process"] for values in last)}) == 4
    assert all(heard.progress[job.id] == [{"done": done, "total": 3} for done in (1, 2, 3)] for job in jobs)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", r"\ATraceback \(most recent call last\):\n(.*\n)+KeyError: \"a plugin's own mistake\"\n\Z"),
        ("diverge", r"\Athe loss is nan at update 3; lower the learning rate\Z"),
    ],
    ids=["raise", "diverge"],
)
def test_a_job_that_fails_takes_no_other_with_it(tmp_path: Path, how: str, reason: str) -> None:
    log = tmp_path / "log"
    heard = run([Note("a", log, seconds=0.1), Fail("bad", how), Note("b", log), Note("c", log, ("a", "b"))])
    assert heard.all("finished") == {"a", "b", "c"}
    assert heard.all("failed") == {"bad"}
    assert heard.progress["bad"] == [{"about to": how}]
    assert re.match(reason, heard.reasons["bad"])


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("be killed", r"its process was killed by SIGKILL (out of memory?)"),
        ("exit", r"its process ended with status 3 before its result stood"),
        ("vanish", r"its process ended with status 0 before its result stood"),
    ],
    ids=["be killed", "exit", "vanish"],
)
def test_a_job_whose_process_dies_is_tried_once_more_and_takes_no_other_with_it(
    tmp_path: Path, how: str, what: str
) -> None:
    log = tmp_path / "log"
    heard = run([Note("a", log, seconds=0.1), Fail("bad", how), Note("b", log), Note("c", log, ("a", "b"))])
    assert heard.all("finished") == {"a", "b", "c"}
    assert heard.all("failed") == {"bad"}
    assert heard.events.count(("started", "bad")) == 1
    assert heard.progress["bad"] == [
        {"about to": how},
        {"warning": f"{what}; it is tried once more"},
        {"about to": how},
    ]
    assert heard.reasons["bad"].startswith(f"{what}, for the second time. Run the same command again, with --set comp")


def test_a_second_try_may_end_well_beside_one_job_fewer(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [DieOnce("once", log, tmp_path / "died"), *(Note(str(number), log, seconds=0.3) for number in range(3))]
    heard = run([*jobs, Note("after", log, ("once",))], workers=2)
    assert heard.all("finished") == {"once", "0", "1", "2", "after"}
    assert heard.reasons == {}
    told = lines(log)
    begun, ended = (max(at for at, line in enumerate(told) if line == f"once {word}") for word in ("begins", "ends"))
    assert told.count("once begins") == 2
    assert ended == begun + 1  # nothing else begins or ends beside the second try


def test_silence_is_spoken_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sslkit_local, "_SILENCE", 0.2)
    heard = run([Note("a", tmp_path / "log", seconds=1.0)])
    assert heard.all("finished") == {"a"}
    assert {"warning": "has told nothing for 0 minutes"} in heard.progress["a"]


def test_what_needs_a_failed_job_is_not_run_and_is_told_which_failed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [
        Note("good", log),
        Fail("bad", "be killed"),
        Fail("worse", "diverge"),
        Note("one", log, ("good", "bad")),
        Note("both", log, ("worse", "good", "bad")),
        Note("chained", log, ("good", "one")),
        Note("free", log, ("good",)),
    ]
    heard = run(jobs, workers=1)
    assert {name: heard.reasons[name] for name in ("one", "both", "chained")} == {
        "one": "not run: it needs bad, which failed",
        "both": "not run: it needs bad, which failed",
        "chained": "not run: it needs bad, which failed",
    }
    assert heard.all("started") == heard.all("finished") | {"bad", "worse"} == {"good", "free", "bad", "worse"}
    assert sorted(lines(log)) == ["free begins", "free ends", "good begins", "good ends"]


def test_a_run_ends_when_all_that_is_left_needs_a_failed_job(tmp_path: Path) -> None:
    jobs = [Fail("a", "raise"), *(Note(name, tmp_path / "log", (before,)) for before, name in ("ab", "bc", "cd"))]
    heard = run(jobs)
    assert heard.events == [("started", "a"), *(("failed", name) for name in "abcd")]
    assert heard.reasons["d"] == "not run: it needs a, which failed"


def test_jobs_that_wait_for_one_another_are_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(ValueError, match=r"^the jobs a, b wait for one another$"):
        run([Note("a", log, ("b",)), Note("b", log, ("a",)), Note("c", log)])
    assert lines(log) == ["c begins", "c ends"]


def test_an_interrupt_ends_the_jobs_that_run() -> None:
    class Interrupting(Heard):
        def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
            super().progressed(job, values)
            if len(self.progress) == 2:
                raise KeyboardInterrupt

    heard = Interrupting()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        Local(PluginConfig()).run([Wait("a"), Wait("b"), Wait("c")], 2, heard)
    assert time.perf_counter() - start < 20
    for name in ("a", "b"):
        with pytest.raises(ProcessLookupError):
            os.kill(heard.progress[name][0]["process"], 0)
    assert heard.all("started") == {"a", "b"}


class TestLastJobs:
    @pytest.fixture(autouse=True)
    def _machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sslkit_local, "_cores", lambda: 2)
        monkeypatch.setattr(sharing, "free_memory", lambda: 2**40)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)

    def jobs(self, log: Path, number: int) -> list[Steps]:
        return [Steps(str(number), log, seconds=0.2) for number in range(number)]

    @pytest.mark.parametrize(("number", "most"), [(3, 3), (4, 2), (5, 3)])
    def test_the_last_three_of_equal_jobs_share_two_cores(self, tmp_path: Path, number: int, most: int) -> None:
        heard = run(self.jobs(tmp_path / "log", number))
        assert heard.all("finished") == {str(job) for job in range(number)}
        assert most_at_once(tmp_path / "log") == most

    def test_a_core_for_each_worker_is_what_is_shared(self, tmp_path: Path) -> None:
        run(self.jobs(tmp_path / "log", 2), workers=1)
        assert most_at_once(tmp_path / "log") == 1

    @pytest.mark.parametrize(
        ("of", "name", "value"),
        [(sharing, "free_memory", 2**20), (sslkit_local, "_cores", 4), (torch.accelerator, "is_available", True)],
    )
    def test_nothing_is_shared_that_is_scarce_or_not_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: object, name: str, value: object
    ) -> None:
        monkeypatch.setattr(of, name, lambda: value)
        run(self.jobs(tmp_path / "log", 3))
        assert most_at_once(tmp_path / "log") == 2
