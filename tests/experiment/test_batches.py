from __future__ import annotations

from typing import Any

import pytest
from studies import tiny_config

import sslkit
from sslkit import api
from sslkit.errors import ConfigError
from sslkit.experiment.view_stream import why_no_parts


def plan(processes: int = 2, device: str = "auto", **pretraining: Any) -> sslkit.DryRun:
    return api.plan(tiny_config(pretraining=pretraining, compute={"processes": processes, "device": device}))


def test_a_batch_that_all_processes_can_share_is_taken() -> None:
    assert plan(2, batch_size=16).num_pretrainings == 2
    assert plan(1, batch_size=12).num_pretrainings == 2


@pytest.mark.parametrize(
    ("size", "nearest"), [(12, "is: 16"), (20, "are: 16 or 32"), (15, "is: 16"), (17, "are: 16 or 32")]
)
def test_one_that_is_not_dealt_evenly_is_refused_with_the_nearest(size: int, nearest: str) -> None:
    said = rf"^pretraining.batch_size: a batch of {size} images is not dealt evenly to 2 .* nearest that {nearest}$"
    with pytest.raises(ConfigError, match=said):
        plan(batch_size=size)


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_what_is_named_is_taken(processes: int) -> None:
    for size in range(1, 200):
        reason = why_no_parts(size, processes)
        assert (reason is None) == (processes == 1 or size % (8 * processes) == 0)
        if reason is not None:
            named = [int(word) for word in reason.rpartition(": ")[2].split(" or ")]
            assert all(why_no_parts(near, processes) is None for near in named)
            assert min(abs(near - size) for near in named) <= 8 * processes


def test_a_task_that_needs_more_images_in_each_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sslkit_rotation import Rotation

    monkeypatch.setattr(Rotation, "min_batch_size", 12)
    said = "the task 'rotation' needs at least 12 images in each process; 16 are 8 for each of 2"
    with pytest.raises(ConfigError, match=said):
        plan(batch_size=16)


def test_images_that_make_no_batch_for_all_processes_are_refused() -> None:
    said = r"pretraining.batch_size: fold 0 has \d+ images, fewer than the batch of 48, and 2 .* of 16; set"
    with pytest.raises(ConfigError, match=said):
        plan(batch_size=48)


def test_images_that_are_too_few_for_so_many_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"6 processes share .* a multiple of 48; take [23] processes at most"):
        plan(6, batch_size=48)


@pytest.mark.parametrize("device", ["mps", "cuda:1"])
def test_one_device_is_not_shared(device: str) -> None:
    said = f"compute.processes: 2 processes train on as many devices, and '{device}' is one; choose 'cuda', 'cpu'"
    with pytest.raises(ConfigError, match=said):
        plan(device=device, batch_size=16)


def test_what_pretrains_nothing_is_not_asked() -> None:
    config = tiny_config(pretraining={"batch_size": 12}, compute={"processes": 2}, evaluation={"arms": ["scratch"]})
    assert api.plan(config).num_pretrainings == 0
