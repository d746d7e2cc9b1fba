"""The executor on a real Ray of this machine; its promises in general are the conformance kit's to check."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from heard import Heard
from jobs import Fail, LoadLibraries, Note, Steps, Wait
from ray import exceptions
from ray_cluster import cluster_of

from sslkit import Job, JobQueue, MovableJob
from sslkit.errors import RunError, StorageError
from sslkit_ray import Ray, RayConfig, shift
from sslkit_ray.tries import Try


class Interrupting(Heard):
    """Is interrupted once it has heard so much."""

    def __init__(self, stop_at: int) -> None:
        super().__init__()
        self.stop_at = stop_at

    def progressed(self, job: Job, values: Mapping[str, Any]) -> None:
        super().progressed(job, values)
        if sum(map(len, self.progress.values())) >= self.stop_at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster_of(1, cpus=2) as cluster:
        yield cluster.address


def run(address: str, jobs: Sequence[Job], workers: int = 2, **options: Any) -> Heard:
    heard = Heard()
    Ray(RayConfig(address=address, **options)).run(jobs, workers, heard)
    return heard


def test_without_jobs_no_cluster_is_needed() -> None:
    assert run("nowhere:1", []).events == []


def test_jobs_are_carried_out_and_what_fits_nowhere_is_told(address: str, tmp_path: Path) -> None:
    jobs = [Fail("bad", "diverge"), Note("vast", tmp_path / "log", processes=3), LoadLibraries("good")]
    heard = run(address, [*jobs, Note("after", tmp_path / "log", ("vast",))])
    assert heard.all("finished") == {"good"}
    assert heard.reasons["bad"] == "the loss is nan at update 3; lower the learning rate"
    assert heard.progress["bad"] == [{"about to": "diverge"}]
    assert heard.reasons["vast"].startswith(
        "it asks for 3 CPU on one node, and no node has all that: of each, the most"
    )
    assert "executor.node_wait" in heard.reasons["vast"]
    assert heard.reasons["after"] == "not run: it needs vast, which failed"


def test_what_no_node_has_may_be_waited_for(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "_LOOK", 0.1)
    heard = run(address, [Note("a", tmp_path / "log")], resources={"unobtainium": 1}, node_wait=0.5)
    assert heard.progress["a"] == [
        {
            "warning": "it asks for 1 CPU, 1 of unobtainium on one node, and no node has all that: of each, the "
            "most that one has is 2 CPU, 0 of unobtainium; it waits for a node to join"
        }
    ]
    assert heard.events == [("started", "a"), ("failed", "a")]


def test_the_cluster_says_how_many_jobs_it_has_room_for(address: str) -> None:
    executor = Ray(RayConfig(address=address))
    assert executor.default_workers("cpu") == 2
    executor.run([LoadLibraries("a")], 1, heard := Heard())
    assert heard.all("finished") == {"a"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("be killed", r"was killed (out of memory?)"),
        ("exit", r"ended with status 3 before its result stood"),
        ("vanish", r"was killed (out of memory?)"),
    ],
)
def test_a_process_that_dies_is_tried_once_more(address: str, how: str, what: str) -> None:
    heard = run(address, [Fail("bad", how)])
    assert heard.events == [("started", "bad"), ("failed", "bad")]
    assert "its process on the node " in heard.reasons["bad"]
    assert f"{what}, for the second time. Run the same command again" in heard.reasons["bad"]
    warnings = [values["warning"] for values in heard.progress["bad"] if "warning" in values]
    assert len(warnings) == 1
    assert warnings[0].endswith(f"{what}; it is tried once more")


@pytest.mark.slow
def test_an_interrupt_stops_jobs_between_two_updates_and_ends_others(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shift, "_GRACE", 3.0)
    heard = Interrupting(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        Ray(RayConfig(address=address)).run([Wait("waits"), Steps("steps", tmp_path / "log", 1.0)], 2, heard)
    with pytest.raises(ProcessLookupError):
        os.kill(heard.progress["waits"][0]["process"], 0)
    assert (tmp_path / "log").read_text() == "steps begins\n"
    assert heard.all("finished") == set()


@pytest.mark.slow
def test_a_job_that_had_just_begun_is_ended_as_well(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shift, "_GRACE", 1.0)
    tidied: list[int] = []
    monkeypatch.setattr(shift.Shift, "_tidy_nodes", lambda self: tidied.extend(map(len, self._used.values())))
    log = tmp_path / "log"

    def read_letters(self: shift.Shift) -> None:
        while not log.exists():
            time.sleep(0.1)
        raise KeyboardInterrupt  # before anything was read

    monkeypatch.setattr(shift.Shift, "_read_letters", read_letters)
    with pytest.raises(KeyboardInterrupt):
        run(address, [Note("a", log, seconds=60.0)])
    assert tidied == [1]


@pytest.mark.slow
def test_silence_is_spoken_of(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "_SILENCE", 1.0)
    monkeypatch.setattr(shift, "_LOOK", 0.2)
    heard = run(address, [Note("a", tmp_path / "log", seconds=4.0)])
    assert {"warning": "has told nothing for 0 minutes"} in heard.progress["a"]


class Placed(Note):
    """A job whose results come from elsewhere."""

    run = cache = folder = Path()
    images = reads = ()
    device = "cpu"
    moved = adopt = Note.execute


@pytest.mark.parametrize(
    ("error", "events"),
    [
        (RunError("its results were damaged"), ["started", "finished"]),
        (StorageError("the disk is full"), ["started", "failed"]),
    ],
)
def test_results_that_do_not_arrive_end_no_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, events: list[str]
) -> None:
    errors = [error]

    def receive(job: object, files: object) -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(shift, "receive_results", receive)
    job, heard = Placed("a", tmp_path), Heard()
    assert isinstance(job, MovableJob)
    at_work = object.__new__(shift.Shift)
    at_work.queue, at_work.observer = JobQueue([job], heard), heard
    while at_work.queue:
        at_work.queue.started(job)
        at_work._conclude(Try(job, "a#1", None, {}), {"done": True, "files": {}, "rest": []})
    assert [event for event, _ in heard.events] == events
    assert errors == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            exceptions.RuntimeEnvSetupError("no such package"),
            r"Ray cannot set up what executor\.runtime_env asks for: Failed to",
        ),
        (
            exceptions.ActorUnavailableError("connection lost", b"0" * 16),
            r"the Ray cluster does not answer any more: .*lost",
        ),
    ],
)
def test_what_ends_the_cluster_ends_the_run_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, message: str
) -> None:
    class Lost:
        def __init__(self, *arguments: object) -> None: ...

        def work(self) -> None:
            raise error

        def stop(self) -> None:
            raise error

    monkeypatch.setattr(shift, "Shift", Lost)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with pytest.raises(RunError, match=message):
        run("auto", [Note("a", tmp_path / "log")])
