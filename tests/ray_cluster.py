"""Ray clusters of several nodes on this machine, for tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray


@contextmanager
def cluster_of(nodes: int, cpus: int = 1) -> Iterator[Any]:
    """Start a head node that carries out no jobs, and others that do; yield the cluster."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        # Nodes are to find what the tests find, wherever pytest has it from.
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(nodes):
                cluster.add_node(num_cpus=cpus)
            yield cluster
        finally:
            ray.shutdown()  # of a test that failed: a cluster cannot end under its driver
            cluster.shutdown()
