"""Small studies on real Ray clusters of two nodes, of which one dies or neither sees what the driver sees."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray_cluster import cluster_of
from studies import tiny_config

import sslkit
from sslkit.errors import JobError, RunError
from sslkit.experiment.observation import Silent
from sslkit.experiment.run_result import RunResult
from sslkit.interfaces import Job

pytestmark = pytest.mark.slow

EVALUATION = {"folds": 2, "label_fractions": [0.3, 1.0], "arms": ["pretrained", "frozen"]}


class Watching(Silent):
    """Does something once the first cell is under way, and keeps warnings."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act, self.acted = act, False
        self.warnings: list[str] = []

    def job_started(self, job: Job) -> None:
        if job.id.startswith("cells/") and not self.acted:
            self.acted = True
            self.act()

    def warned(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return sslkit.run(tiny_config(evaluation=EVALUATION), tmp_path_factory.mktemp("local") / "run")


def run_on(cluster: Any, output: Path, observer: Watching, **options: Any) -> RunResult:
    options = {"address": cluster.address, **options}
    config = tiny_config(evaluation=EVALUATION, compute={"executor": "ray"}, executor=options)
    return sslkit.run(config, output, observer=observer)


def assert_same_results(found: RunResult, local: RunResult) -> None:
    assert found.failures == []
    mine, others = found.directory.root, local.directory.root
    compared = 0
    for path in sorted(others.rglob("*")):
        name = path.relative_to(others)
        if name.parts[0] == "cells" or path.name in (
            "results.csv",
            "summary.csv",
            "backbone.safetensors",
            "features.npy",
        ):
            compared += path.is_file()
            assert path.is_dir() or (mine / name).read_bytes() == path.read_bytes(), name
    assert compared > 30
    assert {path.name for path in (mine / "cells").iterdir()} == {path.name for path in (others / "cells").iterdir()}


def assert_no_process_is_left(cluster: Any) -> None:
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        deadline = time.monotonic() + 20
        while (free := ray.available_resources().get("CPU")) != ray.cluster_resources().get("CPU"):
            assert time.monotonic() < deadline, f"only {free} CPUs are free"
            time.sleep(0.5)
    finally:
        ray.shutdown()


@pytest.mark.parametrize("storage", ["shared", "object-store"])
def test_what_runs_on_a_node_that_dies_is_done_on_another(tmp_path: Path, local: RunResult, storage: str) -> None:
    with cluster_of(2) as cluster:
        first = next(iter(cluster.worker_nodes))
        watching = Watching(lambda: cluster.remove_node(first, allow_graceful=False))
        found = run_on(cluster, tmp_path / "run", watching, storage=storage)
        assert watching.acted
        assert_same_results(found, local)
        died = [text for text in watching.warnings if "died; the job begins anew on another" in text]
        assert died == watching.warnings
        assert died
        assert_no_process_is_left(cluster)


def test_a_job_whose_nodes_die_too_often_fails(tmp_path: Path) -> None:
    with cluster_of(2) as cluster:
        nodes = iter(list(cluster.worker_nodes))
        watching = Watching(lambda: cluster.remove_node(next(nodes), allow_graceful=False))
        with pytest.raises(
            JobError, match=r"died; it has begun anew 0 times before, and executor\.max_node_failures is 0"
        ):
            run_on(cluster, tmp_path / "run", watching, max_node_failures=0)
        assert watching.acted


def test_a_pretraining_of_several_processes_is_carried_out_on_one_node(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "pretraining": {"epochs": 2, "batch_size": 16},
        "evaluation": {"folds": 2, "label_fractions": [1.0], "arms": ["pretrained"]},
    }
    with cluster_of(1, cpus=2) as cluster:
        options = {"address": cluster.address, "storage": "object-store", "scratch": str(tmp_path / "scratch")}
        config = tiny_config(**changes, compute={"executor": "ray", "processes": 2}, executor=options)
        found = sslkit.run(config, tmp_path / "run")
        assert found.failures == []
        logs = list((tmp_path / "run" / "pretraining").rglob("metrics.jsonl"))
        assert [json.loads(line)["processes"] for log in logs for line in log.read_text().splitlines()] == [2] * 4
        assert_no_process_is_left(cluster)


def may_unshare() -> bool:
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@contextmanager
def nodes_that_see_none_of(cluster: Any, folders: list[Path]) -> Iterator[None]:
    """Add two nodes that see empty folders where the driver has full ones."""
    hide = " && ".join(f"mount -t tmpfs none '{folder}'" for folder in folders)
    ray_start = f"'{sys.executable}' -m ray.scripts.scripts start --address={cluster.address} --num-cpus=1 --block"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = ["unshare", "-m", "sh", "-c", f"{hide} && exec {ray_start}"]
    log = folders[0].parent / "nodes.log"
    nodes: list[subprocess.Popen[bytes]] = []
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        for number in (1, 2):  # one after the other: two that start at once get in each other's way
            with log.open("a") as said:
                nodes.append(subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment))
            deadline = time.monotonic() + 120
            while ray.cluster_resources().get("CPU") != number:
                assert time.monotonic() < deadline, f"the nodes do not join: {log.read_text()}"
                time.sleep(0.5)
        ray.shutdown()
        yield
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.wait(60)


@pytest.mark.skipif(not may_unshare(), reason="only root may hide folders from a process")
def test_nodes_that_see_nothing_of_the_driver_s_disk(tmp_path: Path, local: RunResult) -> None:
    cache, scratch = tmp_path / "cache", tmp_path / "scratch"
    (tmp_path / "runs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(os.environ["SSLKIT_CACHE"], cache)
        patch.setenv("SSLKIT_CACHE", str(cache))
        with cluster_of(0) as cluster, nodes_that_see_none_of(cluster, [tmp_path / "runs", cache]):
            shared = Watching()
            with pytest.raises(RunError, match=r"cannot take part in the run: it does not see .*runs/blind"):
                run_on(cluster, tmp_path / "runs" / "blind", shared)
            found = run_on(cluster, tmp_path / "runs" / "run", Watching(), storage="object-store", scratch=str(scratch))
            assert_same_results(found, local)
            assert [path.name for path in scratch.rglob("*") if path.name != f"sslkit-ray-{os.getuid()}"] == []
