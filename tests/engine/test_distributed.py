from __future__ import annotations

from pathlib import Path

import pytest
import torch
from several_processes import gather_and_differentiate, in_processes

from sslkit import gather


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
