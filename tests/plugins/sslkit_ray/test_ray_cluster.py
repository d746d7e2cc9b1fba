from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import ray

from sslkit.errors import ConfigError, RunError
from sslkit_ray import Ray, RayConfig
from sslkit_ray.cluster import Cluster, connect, where


class Nodes(Cluster):
    """A cluster of given nodes, with nobody there."""

    def __init__(self, *nodes: Mapping[str, float], **options: Any) -> None:
        super().__init__(RayConfig(**options), ours=False, joined=False)
        self._nodes = {f"node-{number}": node for number, node in enumerate(nodes)}

    def nodes(self) -> dict[str, Mapping[str, float]]:
        return self._nodes


SMALL, LARGE, GPUS = {"CPU": 1.0}, {"CPU": 8.0, "memory": 2.0**33}, {"CPU": 4.0, "GPU": 2.0}


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


class TestRoom:
    def test_a_request_must_fit_on_one_node(self) -> None:
        cluster = Nodes(SMALL, SMALL)
        assert cluster.why_no_room({"CPU": 1}) is None
        assert cluster.why_no_room({"CPU": 2}) == (
            "it asks for 2 CPU on one node, and no node has all that: of each, the most that one has is 1 CPU"
        )

    def test_all_that_is_asked_for_must_be_on_the_same_node(self) -> None:
        cluster = Nodes(LARGE, GPUS)
        assert cluster.why_no_room({"CPU": 4, "GPU": 2}) is None
        assert cluster.why_no_room({"CPU": 8, "GPU": 1, "fast": 1, "memory": 2**30}) == (
            "it asks for 8 CPU, 1 GPU, 1 of fast, 1 GiB of memory on one node, and no node has all that: "
            "of each, the most that one has is 8 CPU, 2 GPU, 0 of fast, 8 GiB of memory"
        )
        assert Nodes().why_no_room({"CPU": 1}) is not None

    @pytest.mark.parametrize(
        ("options", "device", "jobs"),
        [
            ({}, "cpu", 13),
            ({}, "cuda", 2),
            ({"gpus": 0.5}, "cpu", 4),
            ({"gpus": 0.1}, "cuda", 4),
            ({"gpus": 0}, "cuda", 13),
        ],
    )
    def test_how_many_jobs_there_is_room_for(self, options: dict[str, Any], device: str, jobs: int) -> None:
        assert Nodes(SMALL, LARGE, GPUS, **options).room(device) == jobs


class TestWhere:
    def test_a_cluster_of_its_own_unless_another_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert where(RayConfig()) is None
        assert where(RayConfig(address="local")) is None
        assert where(RayConfig(address="auto")) == "auto"
        monkeypatch.setenv("RAY_ADDRESS", "head:6379")
        assert where(RayConfig()) == "head:6379"
        assert where(RayConfig(address="local")) is None
        assert Ray(RayConfig(address="local")).default_workers("cpu") is None

    def test_a_program_that_is_connected_stays_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "shutdown", lambda: pytest.fail("hung up"))
        cluster = connect(RayConfig(address="local"))
        assert not cluster.ours
        cluster.leave()


class TestRefusals:
    def test_nobody_answers(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        message = (
            rf"^the Ray cluster '127\.0\.0\.1:{port}' cannot be used: .*refused\nexecutor\.address and \$RAY_ADDRESS"
        )
        with pytest.raises(RunError, match=message):
            connect(RayConfig(address=f"127.0.0.1:{port}"))

    @pytest.mark.parametrize("address", ["head", "head:port", "ray://", "127.0.0.1:99999"])
    def test_an_address_that_is_none(self, address: str) -> None:
        with pytest.raises(RunError, match=f"the Ray cluster {re.escape(repr(address))} cannot be used: "):
            connect(RayConfig(address=address))

    @pytest.mark.parametrize("error", [RuntimeError, ConnectionError, ImportError])
    def test_what_ray_says_of_versions_is_passed_on_and_signals_are_kept(
        self, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        def refuse(**options: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
            raise error("Version mismatch: The cluster was started with: Ray: 2.9")

        before = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(ray, "init", refuse)
        monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
        with pytest.raises(RunError, match=r"the Ray cluster 'auto' cannot be used: Version mismatch: The cluster was"):
            connect(RayConfig(address="auto"))
        with pytest.raises(RunError, match=r"^Ray cannot be started on this machine: Version mismatch"):
            connect(RayConfig(address="local"))
        assert signal.getsignal(signal.SIGTERM) == before
        assert "RAY_USAGE_STATS_ENABLED" not in os.environ

    def test_without_ray(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(ConfigError, match=r"needs Ray, which is not here: pip install 'sslkit\[ray\]'"):
            connect(RayConfig())
