"""Fixtures that every test may use."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: several processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import pytest
from object_store import CREDENTIALS, ObjectStore, running_store
from studies import observed_config, tiny_config

import sslkit
from sslkit.experiment.running import RunResult

pytest.register_assert_rewrite("two_views")

FUNDUS600 = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "fundus600"


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests' decoded images out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_credentials_of_yours() -> Iterator[None]:
    """Let tests open no store but their own.

    It is for the whole session, since worker processes come of one server, with the environment that it started with.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def fundus600() -> Path:
    """The folder of 600 real photographs; skips the test where it is absent."""
    if not (FUNDUS600 / "labels.csv").exists():
        pytest.skip(f"the fundus600 photographs are not at {FUNDUS600}")
    return FUNDUS600.resolve()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run; tests must not change its directory."""
    return sslkit.run(tiny_config(), tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def observed_run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run that TensorBoard and MLflow have heard of; tests must not change its directory."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        return sslkit.run(observed_config(), tmp_path_factory.mktemp("runs") / "observed")


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A store that speaks S3; tests put their objects into buckets of their own."""
    with running_store() as store:
        yield store
