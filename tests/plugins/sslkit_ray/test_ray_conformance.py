from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ray_cluster import cluster_of

from sslkit.testing import parametrize_with_checks
from sslkit_ray import Ray

pytestmark = pytest.mark.slow  # each of two dozen jobs is a process that imports torch


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    with cluster_of(1, cpus=2) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield


@pytest.mark.usefixtures("_cluster")
@parametrize_with_checks(Ray)
def test_ray_keeps_its_promises(check: Callable[[], None]) -> None:
    check()
