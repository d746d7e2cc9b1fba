from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sslkit.engine.networks import (
    batches_of,
    call_with_seed,
    check_outputs,
    evaluation_mode,
    load_batch,
    reestimate_batch_statistics,
)
from sslkit.errors import TrainingDivergedError


def test_a_batch_is_channels_first_in_shape_and_channels_last_in_memory() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)

    batch = load_batch(images, np.array([3, 0]))

    assert batch.shape == (2, 3, 4, 5)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch[0, 2], torch.from_numpy(images[3, :, :, 2]))


def test_batches_cover_all_rows_in_order() -> None:
    parts = [part.tolist() for part in batches_of(np.arange(7), 3)]

    assert parts == [[0, 1, 2], [3, 4, 5], [6]]


def test_statistics_become_the_plain_average_over_the_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(8, 3, 5, 5, generator=generator) * 2 + 1 for _ in range(3)]
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5))
    network.train()
    weight = network[0].weight.detach().clone()

    reestimate_batch_statistics(network, batches)

    assert torch.allclose(network[0].running_mean, torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0), atol=1e-6)
    assert torch.allclose(network[0].running_var, torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0), atol=1e-5)
    assert network[0].momentum == 0.1
    assert network.training
    assert network[1].training
    assert torch.equal(network[0].weight, weight)


def test_without_a_batch_the_statistics_stay() -> None:
    network = nn.BatchNorm2d(2)
    network.running_mean.fill_(3)

    reestimate_batch_statistics(network, [])

    assert network.running_mean.tolist() == [3, 3]


def test_outputs_that_are_not_finite_are_counted_by_image() -> None:
    outputs = torch.zeros(5, 3)
    check_outputs(outputs, "output")
    outputs[1] = torch.nan
    outputs[4, 2] = torch.inf
    with pytest.raises(
        TrainingDivergedError, match=r"^the output of 2 of 5 images is not finite; try a lower learning r"
    ):
        check_outputs(outputs, "output")


def test_evaluation_mode_restores_each_part_even_after_an_error() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    network.train()
    network[1].eval()

    def fail() -> None:
        with evaluation_mode(network):
            assert not network.training
            assert not network(torch.ones(1, 2)).requires_grad
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert (network.training, network[0].training, network[1].training) == (True, True, False)


def test_a_seeded_call_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    first = call_with_seed(1, lambda: torch.rand(2))
    second = call_with_seed(1, lambda: torch.rand(2))

    assert torch.equal(first, second)
    assert torch.equal(torch.rand(3), expected)
