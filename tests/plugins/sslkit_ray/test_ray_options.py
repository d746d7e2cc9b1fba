from __future__ import annotations

import tomllib
from types import SimpleNamespace
from typing import Any

import pytest
from studies import prepare_tiny, tiny_tables

from sslkit import build_registry, parse_config
from sslkit.config import to_toml
from sslkit.errors import ConfigError
from sslkit.experiment.study import resolve
from sslkit_ray import Ray as RayExecutor
from sslkit_ray import RayConfig, sslkit_executors


def test_the_hook_returns_the_class() -> None:
    assert list(sslkit_executors()) == [RayExecutor]
    assert RayExecutor.name == "ray"


@pytest.mark.parametrize(
    ("options", "processes", "asked"),
    [
        ({}, 1, {"CPU": 1}),
        ({}, 3, {"CPU": 3}),
        ({"gpus": 0.5}, 1, {"CPU": 1, "GPU": 0.5}),
        ({"gpus": 0.5}, 3, {"CPU": 3, "GPU": 3}),  # one GPU is not shared within a job
        ({"gpus": 2}, 2, {"CPU": 2, "GPU": 4}),
        ({"memory": 1.5, "resources": {"fast_disk": 1}}, 1, {"CPU": 1, "memory": 3 * 2**29, "fast_disk": 1}),
    ],
)
def test_what_a_job_asks_of_a_node(options: dict[str, Any], processes: int, asked: dict[str, float]) -> None:
    job: Any = SimpleNamespace(processes=processes)
    assert RayConfig(**options).request(job, processes) == asked


def test_jobs_of_a_run_on_cuda_ask_for_a_gpu_each(tmp_path_factory: pytest.TempPathFactory) -> None:
    job = prepare_tiny(tmp_path_factory.mktemp("run")).jobs.pretrainings[0]
    assert RayConfig().request(job, 1) == {"CPU": 1}
    vars(job.recipe.compute)["device"] = "cuda"
    assert RayConfig().request(job, 1) == {"CPU": 1, "GPU": 1}
    assert RayConfig(gpus=0).request(job, 1) == {"CPU": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpus": 1.5}, r"1\.5 is more than one GPU, but not a whole number of them"),
        ({"resources": {"GPU": 1.0}}, r"GPU is not a custom resource; see compute\.processes, gpus and memory"),
        ({"resources": {"disk": 0}}, r"disk is 0; ask for more than nothing, or leave it out"),
        ({"storage": "both"}, r"executor\.storage: input should be 'shared' or 'object-store'"),
        ({"max_node_failures": -1}, r"executor\.max_node_failures: input should be greater than or equal to 0"),
        ({"adress": "auto"}, r"executor\.adress: unknown key; did you mean 'address'\?"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], message: str) -> None:
    config = parse_config(tiny_tables(compute={"executor": "ray"}, executor=options))
    with pytest.raises(ConfigError, match=message):
        resolve(config, build_registry())


def test_options_are_written_down_and_read_back() -> None:

    options = {
        "address": "head:6379",
        "storage": "object-store",
        "gpus": 0.5,
        "memory": 4.0,
        "resources": {"fast": 1.0},
        "max_node_failures": 1,
        "node_wait": 60.0,
        "scratch": "/local",
        "runtime_env": {"env_vars": {"A": "b"}, "pip": ["sslkit"]},
    }
    study = resolve(parse_config(tiny_tables(compute={"executor": "ray"}, executor=options)), build_registry())
    assert tomllib.loads(to_toml(study.resolved()))["executor"] == options
