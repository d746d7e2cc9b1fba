from __future__ import annotations

from pathlib import Path

import pytest
import torch
from several_processes import gather_and_differentiate, in_processes, weigh

from sslkit import gather, weighted_mean


def test_one_process_has_gathered_all_there_is():
    x = torch.ones(2, 3, requires_grad=True)
    assert gather(x) is x


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_process_has_the_rows_of_all_in_order_and_the_gradients_of_all(tmp_path: Path, layout):
    whole = torch.arange(48, dtype=torch.float64).view(4, 2, 2, 3) + 1
    parts = [part.contiguous(memory_format=layout) for part in whole.chunk(2)]
    weights = torch.linspace(1, 3, 48, dtype=torch.float64).view(4, 2, 2, 3)
    results = in_processes(gather_and_differentiate, 2, tmp_path, parts, weights)
    for result in results:
        assert torch.equal(result["gathered"], whole)
    # Each process has computed the whole loss: averaged, the gradients are those of one of them.
    gradient = torch.cat([result["gradient"] for result in results]) / 2
    assert torch.allclose(gradient, 2 * weights * whole, rtol=1e-12)


def test_a_weighted_mean_of_one_process_is_that_of_its_values():
    values, weights = torch.rand(4, 3, 5), torch.rand(4, 1, 5)
    expected = (values * weights).sum() / (3 * weights.sum())
    assert torch.equal(weighted_mean(values, weights), expected)


def test_parts_of_a_weighted_mean_and_of_its_gradient_average_to_the_whole(tmp_path: Path):
    values, weights = torch.rand(6, 3, dtype=torch.float64), torch.tensor([0.0, 0.0, 1.0, 2.0, 2.0, 5.0]).view(6, 1)
    whole = (values * weights).sum() / (3 * weights.sum())
    results = in_processes(weigh, 2, tmp_path, values.chunk(2), weights.chunk(2))
    assert torch.allclose(sum(result["part"] for result in results) / 2, whole, rtol=1e-12)
    gradient = torch.cat([result["gradient"] for result in results]) / 2
    assert torch.allclose(gradient, (weights / (3 * weights.sum())).expand(6, 3).double(), rtol=1e-6)
