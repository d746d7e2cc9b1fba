"""What comes first on a node, which may have neither sslkit nor the same version of anything."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from jobs import Fail, Note, Tell
from ray import cloudpickle
from studies import prepare_tiny

from sslkit import versions
from sslkit_ray import task
from sslkit_ray.begin import make_begin
from sslkit_ray.postbox import Letter
from sslkit_ray.task import Teller, perform

NODE = "0123456789abcdef"


class Post:
    """Stands in for the postbox: keeps what is posted."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    @property
    def post(self) -> Post:
        return self

    def remote(self, letter: Letter) -> int:
        self.letters.append(letter)
        return len(self.letters)

    @property
    def values(self) -> list[Any]:
        return [value for _, values, _ in self.letters for value in values]


@pytest.fixture(autouse=True)
def _node(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Here:
        def get_node_id(self) -> str:
            return NODE

    monkeypatch.setattr(ray, "get_runtime_context", Here)
    monkeypatch.setattr(ray, "get", lambda refs: refs)
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def order(job: Any, **changes: Any) -> dict[str, Any]:
    content = {"job": pickle.dumps(job), "sender": "a#1", "versions": versions(), "path": [], "parcels": None}
    return {**content, "site": {"scratch": None, "run": "0"}, **changes}


def test_it_is_sent_by_value_and_says_what_a_node_lacks() -> None:
    call = cloudpickle.dumps(make_begin())
    code = (
        "import pickle, sys; sys.modules['sslkit'] = None\n"
        "print(pickle.load(sys.stdin.buffer)({'path': [], 'versions': {}}, None)['unfit'])"
    )
    said = subprocess.run([sys.executable, "-I", "-c", code], input=call, capture_output=True, check=True).stdout
    assert b"says ModuleNotFoundError: import of sslkit halted" in said
    assert sys.executable.encode() in said


def test_another_sslkit_is_refused() -> None:
    outcome = make_begin()(order(None, versions={"sslkit": "9.9"}), Post())
    assert outcome["unfit"] == f"it has sslkit {versions()['sslkit']} where the run has 9.9"
    assert outcome["node"]


def test_other_versions_of_what_results_depend_on_are_refused() -> None:
    asked = {**versions(), "torch": "1.0"}
    outcome = perform(order(None, versions=asked), Post())
    assert outcome == {"unfit": f"it has torch {versions()['torch']} where the run has 1.0; results depend on these"}


def test_a_module_that_only_the_driver_has_is_named() -> None:
    lost = pickle.dumps(Note("a", Path("log"))).replace(b"jobs", b"jibs")
    outcome = perform({**order(None), "job": lost}, Post())
    assert outcome["unfit"] == "the job needs a module that cannot be imported there: No module named 'jibs'"


def test_a_disk_that_the_node_does_not_see_is_named(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "_PATIENCE", 0.0)
    job = prepare_tiny(tmp_path_factory.mktemp("there")).jobs.cells[0]
    gone = job.moved(Path("/nowhere/run"), job.cache)
    outcome = perform(order(gone), Post())
    assert outcome["unfit"].startswith("it does not see /nowhere/run; put the run directory and the cache of images (")
    assert outcome["unfit"].endswith('or set executor.storage = "object-store"')


def test_a_job_is_carried_out_and_all_that_it_tells_arrives_in_its_order(tmp_path: Path) -> None:
    post = Post()
    outcome = make_begin()(order(Tell(np.arange(3), "a")), post)
    assert outcome["done"]
    told = [*post.values, *outcome["rest"]]
    assert told[:3] == [{"done": done, "total": 3} for done in (1, 2, 3)]
    sender, _, place = post.letters[0]
    assert sender == "a#1"
    assert place is not None
    assert place["node"] == NODE
    assert all(place is None for _, _, place in post.letters[1:])


@pytest.mark.parametrize(
    ("how", "outcome"),
    [("diverge", {"failed": "the loss is nan at update 3; lower the learning rate"}), ("exit", {"exited": 3})],
)
def test_how_a_job_ended_is_told(how: str, outcome: dict[str, Any]) -> None:
    found = perform(order(Fail("a", how)), Post())
    assert {key: found[key] for key in found if key != "rest"} == outcome


def test_what_ray_interrupts_stops_between_two_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "_FLUSH", 0.01)
    post: Any = Post()
    with Teller(post, "a#1", NODE) as teller:
        teller({"done": 1, "total": 3})
        signal.raise_signal(signal.SIGINT)
        teller({"epoch": 1, "metrics": {}})
        with pytest.raises(SystemExit):
            teller({"done": 2, "total": 3})
        rest = teller.rest()
    assert [*post.values, *rest] == [{"done": 1, "total": 3}, {"epoch": 1, "metrics": {}}, {"done": 2, "total": 3}]
