from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from studies import tiny_config

import sslkit
from sslkit import PretextTask, StepOutput, Views, hookimpl
from sslkit.errors import PluginError
from sslkit.registry import build_registry


class Broken(PretextTask[Any]):
    """Fails as soon as it is asked for views."""

    name = "broken"

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        raise KeyError("a stranger's mistake")

    def forward(self, views: Views) -> StepOutput:
        raise AssertionError("never called")


@hookimpl
def sslkit_pretext_tasks() -> Iterable[type[PretextTask[Any]]]:
    return [Broken]


def test_a_task_that_fails_while_it_is_probed_is_named_with_its_distribution() -> None:
    from importlib import metadata

    module = SimpleNamespace(sslkit_pretext_tasks=sslkit_pretext_tasks)
    stranger = SimpleNamespace(
        name="broken",
        value="broken",
        dist=SimpleNamespace(name="sslkit-broken", version="1.2"),
        load=lambda: module,
    )
    registry = build_registry([*metadata.entry_points(group="sslkit"), stranger])
    config = tiny_config(pretext={"name": "broken"})

    with pytest.raises(
        PluginError,
        match=r"the pretext task 'broken' of sslkit-broken 1\.2 failed in make_views\(\) or probe_labels\(\): ",
    ):
        sslkit.doctor(config, registry=registry)


def test_doctor_leaves_torchs_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)

    sslkit.doctor(tiny_config())

    assert torch.equal(torch.rand(3), expected)
